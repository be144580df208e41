"""corom's models in MTEB's tasks: implements EncoderProtocol of mteb 2.26.

    import mteb
    from corom.adapters.mteb import MtebEncoder

    tasks = mteb.get_tasks(["MedicalRetrieval", "CmedqaRetrieval", "CMedQAv2-reranking"])
    mteb.evaluate(MtebEncoder("corom-medical"), tasks)

mteb is not among corom's extras: it brings over eighty packages (`pip install mteb`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from corom.encoder import Encoder
from corom.engines.base import EngineName, Precision
from corom.errors import InputError
from corom.models import EMBEDDED
from corom.models.checkpoint import load_checkpoint
from corom.models.int8 import WORDS
from corom.similarity import score_matrix, score_pairs
from corom.vectors import Vectors

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta
    from torch import Tensor

# MTEB's own names; it has none for corom's kernels.
_FRAMEWORKS: dict[str, list[Any]] = {"openvino": ["OpenVINO"], "torch": ["PyTorch"], "native": []}


class MtebEncoder:
    """An encoder as MTEB calls it; the options are those of `Encoder.load`."""

    def __init__(
        self,
        model_name: str = EMBEDDED,
        revision: str | None = None,
        *,
        device: str | None = None,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        max_length: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.encoder = Encoder.load(
            model_name,
            revision=revision,
            device=device or "auto",
            engine=engine,
            precision=precision,
            max_length=max_length,
            threads=threads,
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        task_metadata: object,  # noqa: ARG002 - one model, no prompts by task
        hf_split: str,  # noqa: ARG002
        hf_subset: str,  # noqa: ARG002
        prompt_type: str | None = None,
        batch_size: int | None = None,  # noqa: ARG002 - batches are planned by tokens
        show_progress_bar: bool | None = None,  # noqa: ARG002 - MTEB shows its own
        precision: Literal["float32"] = "float32",
    ) -> Vectors:
        """Return one vector per text of the batches, `(n, dim) float32`.

        A title stands before the text already: MTEB joins them as corom does. Texts that are
        neither queries nor documents (of symmetric tasks) are encoded as queries.
        """
        if precision != "float32":
            raise InputError(f"precision {precision!r}: corom's vectors are float32")
        texts = [text for batch in inputs for text in batch["text"]]
        if prompt_type == "document":
            return self.encoder.encode_passages(texts)
        return self.encoder.encode_queries(texts)

    def similarity(self, embeddings1: object, embeddings2: object) -> Tensor:
        """Return the dot product of every row with every other, `(n, m)`: what the model ranks by.

        It is the cosine for a model whose folder says that vectors have length 1. MTEB calls
        `float` on a (1, 1) result, which tensors allow and arrays do not.
        """
        from torch import from_numpy

        return from_numpy(score_matrix(_rows(embeddings1), _rows(embeddings2)))

    def similarity_pairwise(self, embeddings1: object, embeddings2: object) -> Tensor:
        """Return the dot product of each row with the same row of the other, `(n,)`."""
        from torch import from_numpy

        return from_numpy(score_pairs(_rows(embeddings1), _rows(embeddings2)))

    @cached_property
    def mteb_model_meta(self) -> ModelMeta:
        """What MTEB writes beside results; the revision is the fingerprint."""
        from mteb.models.model_meta import ModelMeta

        encoder = self.encoder
        sizes = {
            name: prod(shape)
            for name, shape in load_checkpoint(encoder.folder).shape.weight_shapes().items()
        }
        name = encoder.name.strip("/").replace("\\", "/")
        return ModelMeta(
            loader=None,
            name=name if name.count("/") == 1 else f"corom/{name.rpartition('/')[2]}",
            revision=encoder.fingerprint,
            release_date=None,
            languages=["zho-Hans"],
            n_parameters=sum(sizes.values()),
            n_embedding_parameters=sizes[WORDS],
            memory_usage_mb=None,
            max_tokens=encoder.max_length,
            embed_dim=encoder.dim,
            license=None,
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=_FRAMEWORKS[encoder.engine],
            similarity_fn_name="cosine" if encoder.encoding.normalize else "dot",
            use_instructions=bool(encoder.encoding.query_prefix or encoder.encoding.passage_prefix),
            training_datasets=None,
            experiment_kwargs={"precision": encoder.precision},
        )


def _rows(embeddings: Any) -> Vectors:  # noqa: ANN401 - numpy or torch, one vector or many
    return np.atleast_2d(np.asarray(embeddings, np.float32))
