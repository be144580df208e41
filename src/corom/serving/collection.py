"""What is searched: the passages of an opened index, by vectors, by words, or both."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom import bundled
from corom.encoder import Encoder
from corom.errors import InputError
from corom.index import BM25Index, VectorIndex
from corom.records import Passage
from corom.search import Fusion, QueryEncoder, Searcher
from corom.vectors import Vectors

Mode: TypeAlias = Literal["dense", "bm25", "both"]

BUNDLED = "bundled"


class Sample(NamedTuple):
    """Some passages of a collection, evenly spread over it."""

    passages: list[Passage]
    vectors: Vectors


class Collection:
    """Passages with an index of vectors, of words, or both over the same passages."""

    def __init__(
        self, name: str, *, vectors: VectorIndex | None = None, words: BM25Index | None = None
    ) -> None:
        """Raises InputError if there is no index, or two of which one has ids the other lacks."""
        first = words if vectors is None else vectors
        if first is None:
            raise InputError("a collection needs an index")
        self.name, self.vectors, self.words, self._first = name, vectors, words, first
        self.modes: tuple[Mode, ...] = ("bm25",) if vectors is None else ("dense",)
        if vectors is not None and words is not None:
            _require_same_ids(vectors, words)
            self.modes = ("dense", "bm25", "both")

    @property
    def holds_parts(self) -> bool:
        """Whether texts were cut into parts when the index was made."""
        return self._first.spec.part_tokens > 0

    def __len__(self) -> int:
        return len(self._first)

    def searcher(
        self, mode: Mode, *, encoder: QueryEncoder, fusion: Fusion | None = None
    ) -> Searcher:
        """Return what searches by `mode`, one of `modes`; `encoder` is asked where vectors count.

        Raises ArtifactError unless the index of vectors was made with this encoder.
        """
        vectors = None if mode == "bm25" else self.vectors
        return Searcher(
            vectors,
            encoder=None if vectors is None else encoder,
            words=None if mode == "dense" else self.words,
            fusion=(fusion or Fusion()) if mode == "both" else None,
        )

    def sample(self, most: int) -> Sample:
        """Return at most `most` passages with their vectors."""
        if self.vectors is None:
            return Sample([], np.empty((0, 1), np.float32))
        held = self.vectors.collection
        rows = np.flatnonzero(held.alive)
        if len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
        return Sample(held.passages(rows), held.take("vectors", rows).astype(np.float32))


def bundled_collection(encoder: Encoder) -> Collection:
    """Return the passages inside the package, encoded now: some 200, a moment."""
    passages = bundled.passages()
    vectors = VectorIndex.for_encoder(encoder)
    vectors.add(passages, encoder.encode_passages(passage.content for passage in passages))
    words = BM25Index.new()
    words.add(passages)
    return Collection(BUNDLED, vectors=vectors, words=words)


def _require_same_ids(vectors: VectorIndex, words: BM25Index) -> None:
    if len(vectors) != len(words):
        raise InputError(
            f"the index of vectors holds {len(vectors)} passages, that of words {len(words)}; "
            "make both from the same corpus"
        )
    if len(vectors) and not np.array_equal(_ids(vectors), _ids(words)):
        raise InputError(
            "the index of vectors holds other ids than that of words; make both from one corpus"
        )


def _ids(index: VectorIndex | BM25Index) -> NDArray[np.bytes_]:
    held = index.collection
    return np.sort(held.take("ids", np.flatnonzero(held.alive)))
