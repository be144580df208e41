"""Vectors that benchmarks search: made up, or a model's of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corom import Encoder
from corom.evaluation import Dense
from corom.models import EMBEDDED
from corom.readers import Dataset
from corom.vectors import Vectors


def make_vectors(folder: Path, *, passages: int, queries: int, dim: int) -> tuple[Path, Path]:
    """Write seeded unit vectors around 1,000 centres, as far from them as centres are long."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1000, dim), dtype=np.float32)

    def some(n: int) -> NDArray[np.float32]:
        found = centres[rng.integers(0, len(centres), n)]
        found += rng.standard_normal((n, dim), dtype=np.float32)
        unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    vectors = folder / "vectors.npy"
    file = np.lib.format.open_memmap(vectors, "w+", np.float32, (passages, dim))
    for start in range(0, passages, 20_000):
        file[start : start + 20_000] = some(min(20_000, passages - start))
    file.flush()
    np.save(folder / "queries.npy", some(queries))
    return vectors, folder / "queries.npy"


def embedded_vectors(dataset: Dataset, folder: Path, *, work: Path) -> tuple[Path, Path]:
    """Write the embedded model's vectors of passages and queries; those kept in `work` are used."""
    dense = Dense(Encoder.load(), name=EMBEDDED, work=work)
    np.save(folder / "vectors.npy", of_passages(dense, dataset))
    np.save(folder / "queries.npy", of_queries(dense, dataset, dataset.splits))
    return folder / "vectors.npy", folder / "queries.npy"


def of_passages(dense: Dense, dataset: Dataset) -> Vectors:
    """Return the vectors of all passages, in memory."""
    texts = (passage.content for passage in dataset.passages())
    return np.concatenate(list(dense.vectors(texts, side="passage")))


def of_queries(dense: Dense, dataset: Dataset, splits: Iterable[str]) -> Vectors:
    """Return the vectors of the queries of some splits, one after the other."""
    texts = (query.text for split in splits for query in dataset.queries(split))
    return np.concatenate(list(dense.vectors(texts, side="query")))
