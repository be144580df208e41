"""The reranker: a query and a passage read together in, a score out; and hits in new order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corom.engines.base import EngineName, Precision
from corom.engines.loading import open_engine
from corom.errors import InputError
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.head import read_head
from corom.models.names import resolve
from corom.ranking import fuse_weighted, rank_hits
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
        fits = type(self.max_length) is int and 4 <= self.max_length <= checkpoint.shape.positions
        if not fits:
            raise InputError(
                f"max_length is {self.max_length!r}; {checkpoint.name} reads 4 to "
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


@dataclass(frozen=True, kw_only=True)
class SecondPass:
    """How a reranker orders anew what was found first.

    It reads the first `depth` hits. Within them both scores count, stretched to 0..1 per query: the
    reranker's by `share`, the first one's by the rest (`fuse_weighted`). Later hits stay behind.
    """

    reranker: Reranker
    depth: int = 50
    share: float = 0.5

    def __post_init__(self) -> None:
        if type(self.depth) is not int or self.depth < 1:
            raise InputError(f"rerank depth is {self.depth!r}; ask for at least 1")
        if not 0 < self.share <= 1:
            raise InputError(f"rerank share is {self.share}; expected more than 0, at most 1")

    def reorder(
        self,
        queries: Sequence[str],
        found: Sequence[Sequence[Hit]],
        *,
        texts: Callable[[Sequence[str]], Sequence[str]],
    ) -> list[list[Hit]]:
        """Return the hits of each query in their new order; `texts` gives those of passage ids."""
        ids = [[hit.id for hit in hits[: self.depth]] for hits in found]
        left = [query for query, own in zip(queries, ids, strict=True) for _ in own]
        right = [text for own in ids for text in texts(own)]
        scores = iter(self.reranker.score(left, right).tolist())
        return [self._joined(hits[: self.depth], hits[self.depth :], scores) for hits in found]

    def _joined(
        self, head: Sequence[Hit], tail: Sequence[Hit], scores: Iterator[float]
    ) -> list[Hit]:
        """Return the head in its new order; the tail below 0, as far apart as before."""
        if not head:
            return []
        read = [Hit(hit.id, next(scores)) for hit in head]
        fused = fuse_weighted([{"": head}, {"": read}], [1 - self.share, self.share])[""]
        return [*fused, *(Hit(hit.id, hit.score - tail[0].score - 1) for hit in tail)]
