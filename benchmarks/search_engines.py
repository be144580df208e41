"""What `bench_search.py` measures: engines that search one array of vectors, each in a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.index import ExactOptions, HnswOptions, IvfPqOptions, VectorIndex
from corom.index.ann import Neighbours
from corom.index.collection import Collection
from corom.records import Passage
from processes import memory_mb

Rows: TypeAlias = NDArray[np.int64]
Search: TypeAlias = Callable[[NDArray[np.float32], int, int], Rows]
"""(queries, k, effort) -> rows, best first"""

_CHUNK = 65536


def exact_corom(precision: str) -> Callable[[NDArray[np.float32]], Search]:
    """Return what makes corom's exact search over vectors, which stay where they are."""

    def build(vectors: NDArray[np.float32]) -> Search:
        index = _filled(vectors, ExactOptions(precision=precision))
        return lambda queries, k, _: index.top_k(queries, k).positions

    return build


def faiss_flat(vectors: NDArray[np.float32]) -> Search:
    """Return faiss' exact search."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), _CHUNK):
        index.add(np.ascontiguousarray(vectors[start : start + _CHUNK]))
    return lambda queries, k, _: index.search(queries, k)[1]


def near_corom(options: HnswOptions | IvfPqOptions) -> Callable[[NDArray[np.float32]], Search]:
    """Return what makes corom's HNSW or IVF-PQ; `effort` is search_effort or probes."""

    def build(vectors: NDArray[np.float32]) -> Search:
        filled = _filled(vectors, options)
        folder = TemporaryDirectory()
        graph = Path(folder.name) / "graph.faiss"
        Neighbours(filled.collection).write(graph)
        known: dict[int, VectorIndex] = {}

        def search(queries: NDArray[np.float32], k: int, effort: int) -> Rows:
            if effort not in known:
                name = "search_effort" if isinstance(options, HnswOptions) else "probes"
                spec = replace(filled.spec, options=replace(options, **{name: effort}))
                collection = Collection(spec, filled.collection.segments)
                known.clear()
                known[effort] = VectorIndex(collection, neighbours=graph)
            return known[effort].top_k(queries, k).positions

        search.folder = folder  # type: ignore[attr-defined]  # lives as long as the search
        return search

    return build


def near_faiss(vectors: NDArray[np.float32]) -> Search:
    """Return faiss' HNSW as it comes: IndexHNSWFlat with 32 links, efConstruction 40."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    for start in range(0, len(vectors), _CHUNK):
        index.add(np.ascontiguousarray(vectors[start : start + _CHUNK]))

    def search(queries: NDArray[np.float32], k: int, effort: int) -> Rows:
        index.hnsw.efSearch = effort
        return index.search(queries, k)[1]

    return search


ENGINES: dict[str, Callable[[NDArray[np.float32]], Search]] = {
    "faiss flat": faiss_flat,
    **{f"corom {p}": exact_corom(p) for p in ("fp32", "bf16", "int8", "binary")},
    "faiss HNSW32": near_faiss,
    "corom HNSW": near_corom(HnswOptions()),
    "corom HNSW, float32": near_corom(HnswOptions(storage="float32")),
    "corom IVF-PQ": near_corom(IvfPqOptions()),
}


class Numbered(Sequence[Passage]):
    """Passages without texts whose ids are rows: made when asked for, so they take no memory."""

    def __init__(self, rows: range) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - never a slice
        return Passage(str(self._rows[place]), "")


class Engine:
    """One engine over the vectors of a file, and what it is asked; lives in a Worker."""

    memory_mb = staticmethod(memory_mb)

    def __init__(self, name: str, vectors: Path, queries: Path) -> None:
        numbers = np.asarray(np.load(vectors, mmap_mode="r", allow_pickle=False))
        self._queries = np.load(queries, allow_pickle=False)
        begun = time.perf_counter()
        self._search = ENGINES[name](numbers)
        self._built = time.perf_counter() - begun

    def build_seconds(self) -> float:
        """Return the seconds that building took."""
        return self._built

    def search(self, k: int, effort: int = 0) -> tuple[float, Rows]:
        """Return the seconds that searching all queries took, and the rows."""
        begun = time.perf_counter()
        rows = self._search(self._queries, k, effort)
        return time.perf_counter() - begun, rows


def _filled(
    vectors: NDArray[np.float32], options: ExactOptions | HnswOptions | IvfPqOptions
) -> VectorIndex:
    index = VectorIndex.new(vectors.shape[1], options, normalized=True)
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK]
        index.add(Numbered(range(start, start + len(part))), part, copy=False)
    return index
