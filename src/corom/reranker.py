"""The reranker: a query and a passage read together in, a score out; and hits in new order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corom.checks import require_whole
from corom.engines.base import EngineName, Precision
from corom.engines.loading import open_engine
from corom.errors import InputError
from corom.models.checkpoint import Checkpoint
from corom.models.head import read_head
from corom.models.names import open_model
from corom.models.token_types import has_token_types, with_twins
from corom.ranking import fuse_weighted, rank_hits
from corom.records import Hit, Passage, hits_of
from corom.text import check_texts
from corom.tokens import Batch, PairCutter, Tokens, batches
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
        longest = checkpoint.shape.positions
        own = min(checkpoint.encoding.max_length, longest)
        self.max_length = own if max_length is None else max_length
        require_whole(f"max_length for {checkpoint.name}", self.max_length, low=4, high=longest)
        self.name, self.fingerprint = checkpoint.name, checkpoint.fingerprint
        self._head = read_head(checkpoint)
        if has_token_types(checkpoint):
            checkpoint = with_twins(checkpoint)
        self._cutter = PairCutter(
            checkpoint.tokenizer_json,
            max_length=self.max_length,
            second_type=checkpoint.second_type,
        )
        self._engine = open_engine(
            checkpoint, engine=engine, precision=precision, threads=threads, device=device
        )
        self.engine, self.precision = self._engine.name, self._engine.precision
        self.batch_tokens, self.packs = self._engine.batch_tokens, self._engine.packs

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
            open_model(name, revision=revision),
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
        tokens = [item.ids for item in self.cut(queries, passages)]
        scores, done = np.empty(len(tokens), np.float32), 0

        def receive(batch: Batch, own: NDArray[np.float32]) -> None:
            nonlocal done
            scores[batch.rows] = own
            done += len(batch.rows)
            if progress:
                progress(done)

        # A list: the engine may choose by how long it is.
        work = list(
            batches(tokens, budget=self.batch_tokens, longest=self.max_length, packed=self.packs)
        )
        self.run(work, receive)
        return scores

    def cut(self, queries: Sequence[str], passages: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each pair, for a caller that plans its own batches (`run`)."""
        left, right = list(check_texts(queries)), list(check_texts(passages))
        if len(left) != len(right):
            raise InputError(f"{len(left)} queries for {len(right)} passages; give pairs")
        return self._cutter.cut(left, right)

    def run(
        self, batches: Iterable[Batch], receive: Callable[[Batch, NDArray[np.float32]], None]
    ) -> None:
        """Hand every batch to `receive` with its scores, (b,); as `Encoder.run` does vectors."""

        def scored(batch: Batch, vectors: Vectors) -> None:
            receive(batch, self._head.scores(vectors))

        self._engine.run(batches, scored)

    def rank(self, query: str, passages: Iterable[Passage], *, k: int | None = None) -> list[Hit]:
        """Return the `k` (default: all) passages that fit `query` best, best first.

        For tens or hundreds of passages: what an index has found. Ids must be unique.
        """
        listed = list(passages)
        scores = self.score([query] * len(listed), [passage.content for passage in listed])
        return rank_hits(hits_of((passage.id for passage in listed), scores.tolist()), k)


def reordered(hits: Sequence[Hit], scores: Sequence[float], *, share: float) -> list[Hit]:
    """Return a query's hits by their own and a reranker's scores; the latter count by `share`."""
    if not hits:
        return []
    read = hits_of((hit.id for hit in hits), scores)
    return fuse_weighted([{"": hits}, {"": read}], [1 - share, share])[""]


def squashed(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return logits as numbers from 0 to 1: their logistic function."""
    # In the form that no large number overflows.
    return ((1 + np.tanh(logits / 2)) / 2).astype(np.float32)


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
        require_whole("rerank depth", self.depth)
        if not 0 < self.share <= 1:
            raise InputError(f"rerank share is {self.share}; expected more than 0, at most 1")

    @property
    def settings(self) -> Mapping[str, str | float]:
        """What decides the new order, for a report."""
        return {
            "reranker": self.reranker.fingerprint,
            "reranker_precision": self.reranker.precision,
            "rerank_depth": self.depth,
            "rerank_share": self.share,
        }

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
        return [
            self.joined(hits, list(islice(scores, len(own))))
            for hits, own in zip(found, ids, strict=True)
        ]

    def joined(self, hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
        """Return a query's hits in their new order, given the scores of the first `depth`.

        The later ones come below 0, as far apart as before.
        """
        head, tail = hits[: self.depth], hits[self.depth :]
        fused = reordered(head, scores, share=self.share)
        return [*fused, *(Hit(hit.id, hit.score - tail[0].score - 1) for hit in tail)]
