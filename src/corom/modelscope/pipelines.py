"""The pipelines of ModelScope: sentence embedding as the CoROM model cards describe it, ranking.

Where the card and ModelScope 1.40 disagree, and what this one does:

| | card | ModelScope | here |
|---|---|---|---|
| scores | "L2 distance"; dot products shown | dot product | `score=`, dot product |
| source sentences only | first with the others | no scores | as the card |
| several sources, and others | only the first is used | all are embedded | as ModelScope |
| a GPU that is not there | | the CPU | an error |
| `sequence_length` if the model states one | | ignored | ignored with a warning |
| unknown options, wrong input | | ignored, or fails deep inside | an error that names it |
| thousands of sentences | | one forward pass | batches |
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, get_args, overload

import numpy as np

from corom.checks import require_one_of
from corom.encoder import Encoder
from corom.engines.base import EngineName, Precision
from corom.errors import InputError
from corom.models import EMBEDDED
from corom.models.checkpoint import Checkpoint
from corom.models.layouts import stated_max_length
from corom.models.names import open_model
from corom.models.tokenizer import read_tokenizer
from corom.modelscope.inputs import Input, checked_inputs
from corom.modelscope.ranking import RankingPipeline
from corom.reranker import Reranker
from corom.similarity import Score, score_matrix
from corom.vectors import Vectors

_DEVICE = re.compile(r"cpu|(?:gpu|cuda)(:\d+)?")


class Tasks:
    """The names of the tasks that corom has."""

    sentence_embedding: Final = "sentence-embedding"
    text_ranking: Final = "text-ranking"


class Output(TypedDict):
    """What a pipeline gives back."""

    text_embedding: Vectors
    """(sources + compared, dim) float32, sources first"""
    scores: list[float]
    """of the first source sentence with every other sentence, in the order of the rows"""


class Model:
    """A model folder that was found and checked."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    @property
    def model_dir(self) -> str:
        """The folder the model lies in."""
        return str(self.checkpoint.folder)

    @classmethod
    def from_pretrained(
        cls, model_name_or_path: str | Path = EMBEDDED, revision: str | None = None
    ) -> Model:
        """Return the model called so: a folder or any name `Encoder.load` takes.

        Raises what `Encoder.load` raises.
        """
        return cls(open_model(model_name_or_path, revision=revision))


class Pipeline:
    """A loaded model that embeds and compares sentences; made by `pipeline`."""

    def __init__(self, encoder: Encoder, *, score: Score) -> None:
        self._encoder, self._score = encoder, score

    @overload
    def __call__(self, input: Input) -> Output: ...

    @overload
    def __call__(self, input: Sequence[Input]) -> list[Output]: ...

    def __call__(self, input: Input | Sequence[Input]) -> Output | list[Output]:
        """Return the vectors and scores of one input, or of each in a list.

        Source sentences are encoded as queries, those to compare as passages; a list of inputs is
        encoded together. Raises InputError naming what is wrong with which input.
        """
        inputs, single = checked_inputs(input)
        found = self._run(inputs)
        return found[0] if single else found

    def _run(self, inputs: list[tuple[list[str], list[str]]]) -> list[Output]:
        encoder = self._encoder
        queries = iter(encoder.encode_queries(text for sources, _ in inputs for text in sources))
        passages = iter(encoder.encode_passages(text for _, others in inputs for text in others))
        results = []
        for sources, others in inputs:
            rows = [*islice(queries, len(sources)), *islice(passages, len(others))]
            vectors = np.stack(rows)
            scores = score_matrix(vectors[:1], vectors[1:], score=self._score)
            results.append(Output(text_embedding=vectors, scores=scores[0].tolist()))
        return results


@overload
def pipeline(
    task: Literal["text-ranking"],
    model: str | Path | Model,
    *,
    device: str = ...,
    sequence_length: int | None = ...,
    max_length: int | None = ...,
    model_revision: str | None = ...,
    engine: EngineName = ...,
    precision: Precision = ...,
) -> RankingPipeline: ...


@overload
def pipeline(
    task: Literal["sentence-embedding"] = ...,
    model: str | Path | Model = ...,
    *,
    device: str = ...,
    sequence_length: int | None = ...,
    max_length: int | None = ...,
    boq: str | None = ...,
    eoq: str | None = ...,
    bod: str | None = ...,
    eod: str | None = ...,
    model_revision: str | None = ...,
    engine: EngineName = ...,
    precision: Precision = ...,
    score: Score | None = ...,
) -> Pipeline: ...


def pipeline(  # noqa: PLR0913 - ModelScope's own keywords, and two more
    task: str = Tasks.sentence_embedding,
    model: str | Path | Model = EMBEDDED,
    *,
    device: str = "cpu",
    sequence_length: int | None = None,
    max_length: int | None = None,
    boq: str | None = None,
    eoq: str | None = None,
    bod: str | None = None,
    eod: str | None = None,
    model_revision: str | None = None,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    score: Score | None = None,
) -> Pipeline | RankingPipeline:
    """Return a pipeline that embeds sentences and scores them against the first, or that ranks.

    `model`: a folder, a `Model` or any name `Encoder.load` takes; for ranking a reranker's.
    `device`: `cpu`, `gpu`, `cuda`, `gpu:1`, `cuda:1`; the latter need the torch extra and the GPU.
    `max_length` in tokens (of a pair, when ranking) wins over the length the model folder states,
    which wins over `sequence_length`, which is 128. `engine`, `precision`: see `Encoder.load`.
    For embedding only: `boq`, `bod`: text before queries and documents; `eoq`, `eod`: a token
    behind them; None takes the model's. `score`: `dot` (default), `cosine` or `l2`.
    """
    require_one_of("task", task, (Tasks.sentence_embedding, Tasks.text_ranking))
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise InputError(f"device {device!r} is none of cpu, gpu, cuda, gpu:NUMBER, cuda:NUMBER")
    model = opened(model, model_revision)
    loading: dict[str, Any] = {
        "engine": engine,
        "precision": precision,
        "max_length": _length(model.checkpoint, sequence_length, max_length),
        "device": device.replace("gpu", "cuda"),
    }
    texts = {"query_prefix": boq, "query_suffix": eoq, "passage_prefix": bod, "passage_suffix": eod}
    given = {name: text for name, text in texts.items() if text is not None}
    if task == Tasks.text_ranking:
        if given or score is not None:
            raise InputError("boq, eoq, bod, eod and score are for sentence embedding, not ranking")
        return RankingPipeline(Reranker(model.checkpoint, **loading))
    if score is not None:
        require_one_of("score", score, get_args(Score))
    return Pipeline(Encoder(_with_texts(model.checkpoint, given), **loading), score=score or "dot")


def opened(model: str | Path | Model, revision: str | None) -> Model:
    """Return the model, or the one called so; InputError for a revision of what is loaded."""
    if not isinstance(model, Model):
        return Model.from_pretrained(model, revision)
    if revision is not None:
        raise InputError("model_revision belongs to a name; this model is loaded already")
    return model


def _with_texts(checkpoint: Checkpoint, texts: dict[str, Any]) -> Checkpoint:
    if not texts:
        return checkpoint
    encoding = replace(checkpoint.encoding, **texts)
    # Read again because a suffix has to be one of its tokens.
    tokenizer = read_tokenizer(checkpoint.folder, shape=checkpoint.shape, encoding=encoding)
    return replace(checkpoint, encoding=encoding, tokenizer_json=tokenizer)


def _length(
    checkpoint: Checkpoint, sequence_length: int | None, max_length: int | None
) -> int | None:
    if max_length is not None or sequence_length is None:
        return max_length
    stated = stated_max_length(checkpoint.folder)
    if stated is not None and stated != sequence_length:
        warnings.warn(
            f"sequence_length={sequence_length} has no effect: {checkpoint.name} states "
            f"max_length {stated}, which wins; say max_length={sequence_length} instead",
            stacklevel=3,
        )
    return sequence_length if stated is None else None
