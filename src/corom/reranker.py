"""The reranker: a query and a passage read together in, a score out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corom.engines.base import EngineName, Precision
from corom.engines.loading import open_engine
from corom.errors import InputError
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.head import read_head
from corom.models.names import resolve
from corom.ranking import rank_hits
from corom.records import Hit, Passage
from corom.text import check_texts
from corom.tokens import Batch, PairCutter, batches
from corom.vectors import Vectors


class Reranker:
    """A cross-encoder: it reads a query together with a passage and says how well they fit.

    Slower than an encoder, as nothing can be computed before the query is known, and better: for
    the first tens of what an encoder finds. `corom train reranker` makes one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        max_length: int | None = None,
        threads: int | None = None,
        device: str = "auto",
    ) -> None:
        own = min(checkpoint.encoding.max_length, checkpoint.shape.positions)
        self.max_length = own if max_length is None else max_length
        if not 4 <= self.max_length <= checkpoint.shape.positions:
            raise InputError(
                f"max_length is {self.max_length}; {checkpoint.name} reads 4 to "
                f"{checkpoint.shape.positions} tokens"
            )
        self.name, self.fingerprint = checkpoint.name, checkpoint.fingerprint
        self._head = read_head(checkpoint)
        self._cutter = PairCutter(checkpoint.tokenizer_json, max_length=self.max_length)
        self._engine = open_engine(
            checkpoint, engine=engine, precision=precision, threads=threads, device=device
        )
        self.engine, self.precision = self._engine.name, self._engine.precision

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        max_length: int | None = None,
        threads: int | None = None,
        device: str = "auto",
        revision: str | None = None,
    ) -> Reranker:
        """Return the cross-encoder called `name`; the options are those of `Encoder.load`.

        `max_length` counts query and passage together. Raises ArtifactError for a folder that
        cannot be used, DownloadError, InputError.
        """
        return cls(
            load_checkpoint(resolve(str(name), revision=revision), name=str(name)),
            engine=engine,
            precision=precision,
            max_length=max_length,
            threads=threads,
            device=device,
        )

    def score(
        self,
        queries: Sequence[str],
        passages: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Return how well each query fits the passage of the same place, `(n,) float32`.

        Logits: any number, higher is better, to be compared between passages of one query.
        `progress` is told how many pairs are done. Raises InputError for lists of different
        length and for what is not text.
        """
        left, right = list(check_texts(queries)), list(check_texts(passages))
        if len(left) != len(right):
            raise InputError(f"{len(left)} queries for {len(right)} passages; give pairs")
        tokens = [item.ids for item in self._cutter.cut(left, right)]
        scores, done = np.empty(len(tokens), np.float32), 0

        def receive(batch: Batch, vectors: Vectors) -> None:
            nonlocal done
            scores[batch.rows] = self._head.scores(vectors)
            done += len(batch.rows)
            if progress:
                progress(done)

        engine = self._engine
        # A list: the engine may choose by how long it is.
        work = list(
            batches(
                tokens, budget=engine.batch_tokens, longest=self.max_length, packed=engine.packs
            )
        )
        engine.run(work, receive)
        return scores

    def rank(self, query: str, passages: Iterable[Passage], *, k: int | None = None) -> list[Hit]:
        """Return the `k` (default: all) passages that fit `query` best, best first.

        For tens or hundreds of passages: what an index has found. Ids must be unique.
        """
        listed = list(passages)
        scores = self.score([query] * len(listed), [passage.content for passage in listed])
        pairs = zip(listed, scores.tolist(), strict=True)
        return rank_hits((Hit(passage.id, score) for passage, score in pairs), k)
