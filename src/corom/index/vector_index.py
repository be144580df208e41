"""The index of vectors: a first pass finds candidates, the candidates are scored in fp32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from corom.checks import require_whole
from corom.errors import InputError
from corom.index.base import BaseIndex
from corom.index.collection import Collection
from corom.index.rescoring import rescored
from corom.index.segments import check_vectors, make_segment
from corom.index.spec import ExactOptions, IndexSpec, Options, VectorType
from corom.index.where import Where
from corom.ranking import TopK
from corom.records import Hit, Passage, hits_of
from corom.vectors import Vectors

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.index.ann import Neighbours
    from corom.index.scan import Scanner

# So few passages, and numbers of theirs for all queries, are scored at once: a search in a new
# process is done before a first pass would be compiled.
_FEW, _NUMBERS = 1024, 2**19


class _FirstPass(Protocol):
    def rows(self, collection: Collection, queries: Vectors, k: int) -> NDArray[np.int64]: ...


class VectorIndex(BaseIndex):
    """Passages found by the inner product of their vectors with a query's, in any kind of index.

    The score of a hit is the product in fp32, whatever the kind, and the same whoever else is
    asked for in the same call; hits are in the order of the one ranking rule. Searching from
    several threads is safe, changing the index meanwhile is not.
    """

    def __init__(self, collection: Collection, *, neighbours: Path | None = None) -> None:
        """For `open_index`; use `VectorIndex.new` to begin one in memory."""
        if collection.spec.is_words:
            raise InputError("options are those of bm25; use BM25Index")
        super().__init__(collection)
        self._first = _FirstPasses(collection.spec, neighbours)

    @classmethod
    def new(
        cls,
        dim: int,
        options: Options | None = None,
        *,
        fingerprint: str = "",
        normalized: bool = False,
        vector_type: VectorType = "float32",
        keep: Sequence[str] = (),
    ) -> VectorIndex:
        """Return an empty index in memory; `options` default to exact search in fp32.

        `fingerprint` and `normalized` say which encoder's vectors it is for, and whether those have
        length 1; `for_encoder` fills them in. `keep`: which fields passages may have.
        """
        spec = IndexSpec(
            options=options or ExactOptions(),
            dim=dim,
            fingerprint=fingerprint,
            normalized=normalized,
            vector_type=vector_type,
            keep=keep,
        )
        return cls(Collection(spec))

    @classmethod
    def for_encoder(
        cls,
        encoder: Encoder,
        options: Options | None = None,
        *,
        vector_type: VectorType = "float32",
        keep: Sequence[str] = (),
    ) -> VectorIndex:
        """Return an empty index in memory for what `encoder.encode_passages` returns."""
        spec = IndexSpec.for_encoder(encoder, options, vector_type=vector_type, keep=keep)
        return cls(Collection(spec))

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return self.spec.dim

    def add(self, passages: Sequence[Passage], vectors: Vectors, *, copy: bool = True) -> None:
        """Add passages with one vector each, `(n, dim) float32`, to the index in memory.

        `copy=False` keeps the array itself, a mapped file perhaps, which must not change then.
        Raises InputError for an id that is there or occurs twice, NaN, infinity, wrong shapes.
        An index in a folder is changed by `open_writer`.
        """
        segment = make_segment(tuple(passages), vectors, spec=self.spec)
        if len(passages):
            if copy and segment.vectors is vectors:
                segment = segment._replace(vectors=vectors.copy())
            self.collection.append(segment)

    def only(self, where: Iterable[Where]) -> Self:
        """Return the index of the passages that match every filter, to be searched.

        Costs a moment; the first pass is the same. InputError for a column that is not kept.
        """
        if not isinstance(self.spec.options, ExactOptions):
            self._first.of(self.collection)  # a graph is one of all passages
        found = copy(self)
        found.collection = self.collection.only(where)
        return found

    def search(self, queries: Vectors, k: int) -> list[list[Hit]]:
        """Return the `min(k, n)` best passages of each query, `(q, dim) float32`, best first."""
        best = self.top_k(queries, k)
        ids = iter(self.collection.ids(best.positions.ravel()))
        return [hits_of(islice(ids, len(row)), row) for row in best.scores.tolist()]

    def top_k(self, queries: Vectors, k: int) -> TopK:
        """Return the same as arrays; positions are rows of `collection`."""
        check_vectors(queries, dim=self.dim)
        require_whole("k", k)
        k = min(k, len(self))
        if not k or not len(queries):
            return TopK(
                np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
            )
        candidates = self._candidates(queries, k)
        return rescored(self.collection, queries, candidates, k)

    def _candidates(self, queries: Vectors, k: int) -> NDArray[np.int64]:
        """Return at least `k` rows per query, ascending, after -1 for none."""
        living = len(self.collection)
        if living < _FEW and len(queries) * living * self.dim <= _NUMBERS:
            alive = np.flatnonzero(self.collection.alive)
            return np.broadcast_to(alive, (len(queries), len(alive)))
        depth = _depth(self.spec.options, k)
        found = self._first.of(self.collection).rows(self.collection, queries, depth)
        short = np.flatnonzero((found >= 0).sum(axis=1) < k)
        if short.size:  # the approximate pass did not find enough: k hits were asked for
            found[short] = -1
            scanner = self._first.exhaustive()
            found[short, -k:] = scanner.rows(self.collection, queries[short], k)
        return found


class _FirstPasses:
    """What makes the first pass, opened when it is needed: one for all filters of an index."""

    def __init__(self, spec: IndexSpec, neighbours: Path | None) -> None:
        self._spec, self._file = spec, neighbours
        self._neighbours: Neighbours | None = None
        self._exact: Scanner | None = None
        self._growing = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_growing"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _growing=Lock())

    def of(self, collection: Collection) -> _FirstPass:
        """Return the one for the kind of index."""
        from corom.index.ann import LEAST, SPARSE, Neighbours

        few = collection.rows < LEAST or len(collection) ** 2 < SPARSE * collection.rows
        if few or isinstance(self._spec.options, ExactOptions):
            return self.exhaustive()
        with self._growing:  # of threads that search only one adds what is new
            if self._neighbours is None:
                self._neighbours = Neighbours(collection, path=self._file)
            self._neighbours.extend(collection)
            return self._neighbours

    def exhaustive(self) -> Scanner:
        """Return the one that compares with every passage."""
        from corom.index.scan import Scanner

        if self._exact is None:
            spec = self._spec
            self._exact = Scanner(spec.dim, spec.scan, vector_type=spec.vector_type)
        return self._exact


def _depth(options: Options, k: int) -> int:
    """Return how many candidates to score again, so that the first pass costs no hit.

    fp32 and bf16 differ from the final score by rounding, int8 by about 1 % of the spread of
    scores, binary by more than half of it: see docs/indexes.md for what was measured.
    """
    if not isinstance(options, ExactOptions):
        return k
    if options.precision == "binary":
        return max(10 * k, 1000)
    return k + {"fp32": 16, "bf16": max(64, k // 20), "int8": max(100, k // 10)}[options.precision]
