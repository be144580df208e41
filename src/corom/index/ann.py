"""Approximate first passes through faiss: a graph of neighbours (HNSW), or lists (IVF-PQ).

What is not faiss's to decide stays here: ids, removed passages and final scores. A faiss file
carries no checksum and is not written atomically, so it is only ever opened after the manifest's
check, and written through `files`.
"""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError, InputError
from corom.extras import need
from corom.files import atomic_write
from corom.index.collection import Collection
from corom.index.spec import HnswOptions, IndexSpec, IvfPqOptions
from corom.vectors import Vectors

Faiss: TypeAlias = Any  # faiss's own types are not exported

LEAST = 1024
"""below this many passages an exhaustive search is faster, and faiss cannot be trained"""
SPARSE = 256
"""where the square of the passages left is below so many times all, it is faster, too"""
_BLOCK = 65536
_MORE = 16  # candidates beyond k: one byte per number misplaces hits by that much, rarely more
_TRAINING_PER_LIST = 40  # faiss asks for 39
_TRAINING_FOR_CODES = 65536


class Neighbours:
    """A faiss index whose ids are rows."""

    def __init__(self, collection: Collection, *, path: Path | None = None) -> None:
        """Build over the collection, or read the file `path`."""
        options = collection.spec.options
        if not isinstance(options, HnswOptions | IvfPqOptions):
            raise InputError(f"an index of kind {options.kind} has no neighbours")
        self._faiss = need("faiss", extra="index")
        self._options = options
        self._index = self._read(path, collection) if path else self._trained(collection)
        self.extend(collection)

    def extend(self, collection: Collection) -> None:
        """Add the rows that came since."""
        for start in range(self._index.ntotal, collection.rows, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, collection.rows))
            self._index.add(_floats(collection, rows))

    def rows(self, collection: Collection, queries: Vectors, k: int) -> NDArray[np.int64]:
        """Return `k` rows and some more for each query, ascending; -1 where nothing was found."""
        selector = None
        if len(collection) < self._index.ntotal:
            bits = np.packbits(collection.alive, bitorder="little")
            selector = self._faiss.IDSelectorBitmap(bits)
        # Of fewer the nearest lie farther away, among more that do not count.
        farther = collection.rows / len(collection)
        wanted, parameters = self._parameters(k, selector, farther)
        _, found = self._index.search(queries, min(wanted, len(collection)), params=parameters)
        return np.sort(found, axis=1)

    def write(self, path: Path) -> None:
        """Write the faiss file, atomically."""
        with atomic_write(path) as file:
            self._faiss.write_index(self._index, self._faiss.PyCallbackIOWriter(file.write))

    def _parameters(self, k: int, selector: Faiss, farther: float) -> tuple[int, Faiss]:
        if isinstance(self._options, HnswOptions):
            wanted = k + max(_MORE, k // 10)
            effort = ceil(farther * max(self._options.search_effort, wanted))
            return wanted, self._faiss.SearchParametersHNSW(efSearch=effort, sel=selector)
        return self._options.candidates * k, self._faiss.SearchParametersIVF(
            nprobe=ceil(farther * self._options.probes), sel=selector
        )

    def _read(self, path: Path, collection: Collection) -> Faiss:
        try:
            index = self._faiss.read_index(str(path))
        except RuntimeError:
            raise ArtifactError(f"{path} cannot be read by faiss; make the index again") from None
        if index.d != collection.spec.dim or index.ntotal > collection.rows:
            raise ArtifactError(f"{path} is not of this index; make the index again")
        return index

    def _trained(self, collection: Collection) -> Faiss:
        dim, product = collection.spec.dim, self._faiss.METRIC_INNER_PRODUCT
        if isinstance(self._options, HnswOptions):
            index = self._graph(collection.spec, self._options)
            training = _TRAINING_FOR_CODES
        else:
            lists = self._options.lists or round(4 * sqrt(len(collection)))
            centres = self._faiss.IndexFlatIP(dim)
            index = self._faiss.IndexIVFPQ(
                centres, dim, lists, self._options.bytes_per_vector, 8, product
            )
            # faiss keeps a bare pointer to the centres: they must live as long as the index.
            self._centres = centres
            # Without these faiss prints warnings about small collections.
            index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
            training = max(_TRAINING_FOR_CODES, _TRAINING_PER_LIST * lists)
        living = np.flatnonzero(collection.alive)
        step = max(1, len(living) // training)
        index.train(_floats(collection, living[::step]))
        return index

    def _graph(self, spec: IndexSpec, options: HnswOptions) -> Faiss:
        product = self._faiss.METRIC_INNER_PRODUCT
        if options.storage == "sq8":
            eight_bits = self._faiss.ScalarQuantizer.QT_8bit
            # Rounding changes lengths, and by them products, more than near twins differ: where
            # all lengths are 1, distances rank as products do and do not suffer so.
            metric = self._faiss.METRIC_L2 if spec.is_unit else product
            index = self._faiss.IndexHNSWSQ(spec.dim, eight_bits, options.links, metric)
        else:
            index = self._faiss.IndexHNSWFlat(spec.dim, options.links, product)
        index.hnsw.efConstruction = options.build_effort
        return index


def _floats(collection: Collection, rows: NDArray[np.int64]) -> Vectors:
    return np.ascontiguousarray(collection.take("vectors", rows), dtype=np.float32)
