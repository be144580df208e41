"""Retrieval by vectors, exactly: every passage is scored for every query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from corom import __version__
from corom.encoder import Encoder, Side
from corom.evaluation.kept import Describing, KeptArrays, kept_vectors
from corom.evaluation.measure import Indexed
from corom.files import sha256
from corom.index import VectorIndex
from corom.records import Hit, Passage, Query
from corom.vectors import Vectors, normalized, truncated


class Dense:
    """An encoder as a retriever; its vectors are kept below `work` and used again.

    The score is the dot product, of vectors at length 1 if `normalize` (None: as the model folder
    says). With `truncate_dim` only the first numbers count; the whole vectors are kept, so further
    lengths cost no encoding. `progress` is called with the passages encoded so far.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        name: str,
        work: Path,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.name = name
        self._encoder, self._work, self._progress = encoder, work, progress
        self._unit = encoder.encoding.normalize if normalize is None else normalize
        self._dim = encoder.dim if truncate_dim is None else truncate_dim
        truncated(np.empty((0, encoder.dim), np.float32), self._dim)  # refuses what cannot be
        self.settings: Describing = {
            "fingerprint": encoder.fingerprint,
            "engine": encoder.engine,
            "precision": encoder.precision,
            "max_length": encoder.max_length,
            "dim": self._dim,
            "normalize": self._unit,
        }

    def index(self, passages: Iterable[Passage]) -> Indexed:
        """Return the index of the passages: ids in memory, whole vectors mapped from disk."""
        known: list[Passage] = []

        def texts() -> Iterator[str]:
            for passage in passages:
                known.append(Passage(passage.id, ""))
                yield passage.content

        index = VectorIndex.new(self._dim, normalized=self._unit)
        for vectors in self.vectors(texts(), side="passage", progress=self._progress):
            done = len(index)
            index.add(known[done : done + len(vectors)], vectors, copy=False)

        def search(queries: Sequence[Query], depth: int) -> list[list[Hit]]:
            parts = self.vectors((query.text for query in queries), side="query")
            return [hits for part in parts for hits in index.search(part, depth)]

        return Indexed(len(index), search)

    def vectors(
        self, texts: Iterable[str], *, side: Side, progress: Callable[[int], None] | None = None
    ) -> Iterator[Vectors]:
        """Yield the vectors to score with, in parts, kept or newly encoded."""
        method = self._encoder.encode_queries if side == "query" else self._encoder.encode_passages
        done = 0

        def show(more: int) -> None:
            if progress:
                progress(done + more)

        def encode(part: list[str]) -> Vectors:
            return method(part, normalize=self._unit, progress=lambda so_far: show(so_far.done))

        kept = KeptArrays(self._work, {**self._identity, "side": side})
        for part in kept_vectors(kept, texts, encode):
            done += len(part)
            show(0)
            yield self._shortened(part)

    def _shortened(self, vectors: Vectors) -> Vectors:
        if self._dim == vectors.shape[1]:
            return vectors
        short = truncated(vectors, self._dim)
        return normalized(short) if self._unit else short

    @cached_property
    def _identity(self) -> Describing:
        # One fingerprint stands for all forms of a model's weights (int8, restored from int8), but
        # their vectors differ; and so may those of another version of corom.
        files = sorted(self._encoder.folder.glob("*.safetensors"))
        return {
            "corom": __version__,
            "weights": " ".join(sha256(file) for file in files),
            "fingerprint": self._encoder.fingerprint,
            "engine": self._encoder.engine,
            "precision": self._encoder.precision,
            "normalize": self._unit,
        }
