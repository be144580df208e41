"""What a batcher feeds: an encoder reads texts, a reranker reads queries with passages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from corom.encoder import Encoder
from corom.reranker import Reranker
from corom.tokens import Batch, Tokens
from corom.vectors import Vectors


class Reader(Protocol):
    """An engine and how a request's texts become the tokens it reads."""

    dim: int
    max_length: int
    batch_tokens: int
    packs: bool

    def cut(self, queries: Sequence[str], passages: Sequence[str]) -> list[Tokens]:
        """Return the tokens of what is read, one after another."""

    def run(self, batches: Iterator[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Hand every batch to `receive` with one vector each, (b, dim)."""


class TextReader:
    """Reads each query, then each passage: a vector each."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.dim, self.max_length = encoder.dim, encoder.max_length
        self.batch_tokens, self.packs = encoder.batch_tokens, encoder.packs

    def cut(self, queries: Sequence[str], passages: Sequence[str]) -> list[Tokens]:
        """Return the tokens of all queries, then of all passages."""
        cut = self._encoder.cut
        return cut(queries, side="query") + cut(passages, side="passage")

    def run(self, batches: Iterator[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Hand every batch to `receive` with its raw vectors, (b, dim)."""
        self._encoder.run(batches, receive)


class PairReader:
    """Reads each query with the passage of its place: a score each, as a vector of one number."""

    dim = 1

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self.max_length = reranker.max_length
        self.batch_tokens, self.packs = reranker.batch_tokens, reranker.packs

    def cut(self, queries: Sequence[str], passages: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each pair."""
        return self._reranker.cut(queries, passages)

    def run(self, batches: Iterator[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Hand every batch to `receive` with its scores, (b, 1)."""

        def received(batch: Batch, scores: NDArray[np.float32]) -> None:
            receive(batch, scores[:, None])

        self._reranker.run(batches, received)
