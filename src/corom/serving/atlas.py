"""A map of passages: two coordinates each, clusters with names, and where a query would lie.

The plane is t-SNE's: neighbours stay neighbours, distances between groups mean nothing. Fewer
than ten passages, and equal ones, are laid out by their two main directions (PCA).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from corom.clustering import cluster_kmeans, describe_clusters
from corom.corpus import CorpusChecksum
from corom.extras import need
from corom.serving.collection import Sample
from corom.serving.own_schemas import MapGroup, Neighbour
from corom.vectors import Vectors, normalized, truncated

MOST = 2000
"""passages on a map"""
_FEW = 10
_EQUAL = 1e-6
"""How far apart vectors of length 1 lie, at most, that differ by rounding only."""
_CLUSTERS = 10
_PER_CLUSTER = 12
_NAME_WORDS = 2
_SHORT = 12
_NEAREST = 8


class Atlas:
    """The map of a sample. Drawing 2,000 passages takes some 10 s, 200 one second."""

    def __init__(self, sample: Sample) -> None:
        self.passages = sample.passages
        self.checksum = CorpusChecksum(self.passages).hexdigest()
        self._unit = normalized(sample.vectors)
        count = max(1, min(_CLUSTERS, len(self.passages) // _PER_CLUSTER))
        with _one_thread():
            plane = _principal(self._unit)
            plain = len(plane) < _FEW or not plane[:, 0].std() > _EQUAL
            self.points = _stretched(plane if plain else _neighbourly(self._unit, plane))
            self.labels = cluster_kmeans(self._unit, count)
        self.method = "PCA" if plain else "t-SNE"
        self.groups = self._describe()

    def near(self, vector: Vectors, k: int = _NEAREST) -> list[Neighbour]:
        """Return the nearest passages of a raw vector, (dim,) or longer, best first."""
        cosines = self._unit @ normalized(truncated(vector[None], self._unit.shape[1]))[0]
        best = np.argsort(-cosines, kind="stable")[:k]
        return [Neighbour(row=row, score=float(cosines[row])) for row in best.tolist()]

    def near_row(self, row: int) -> list[Neighbour]:
        """Return the nearest passages of one of the sample, without itself."""
        others = [each for each in self.near(self._unit[row], _NEAREST + 1) if each.row != row]
        return others[:_NEAREST]

    def place(self, nearest: list[Neighbour]) -> tuple[float, float]:
        """Return where something with these neighbours lies: among the first three."""
        weights = np.array([max(found.score, 1e-6) ** 8 for found in nearest[:3]])
        x, y = weights @ self.points[[found.row for found in nearest[:3]]] / weights.sum()
        return float(x), float(y)

    def _describe(self) -> list[MapGroup]:
        texts = [passage.content for passage in self.passages]
        groups = []
        for cluster in describe_clusters(self.labels, self._unit, texts, keywords=_NAME_WORDS):
            # The median: a stray member does not pull the name away.
            x, y = np.median(self.points[list(cluster.rows)], axis=0).tolist()
            name = self._title(cluster.rows) or " · ".join(cluster.keywords)
            groups.append(MapGroup(name=name, x=x, y=y, size=len(cluster.rows)))
        return groups

    def _title(self, rows: Sequence[int]) -> str:
        """Return the first short title, if any: those of typical members come first."""
        titles = (self.passages[row].title for row in rows)
        return next((title for title in titles if 0 < len(title) <= _SHORT), "")


def _one_thread() -> AbstractContextManager[object]:
    """Keep scikit-learn from spinning on every core: a hundred times slower on a busy machine."""
    need("sklearn.manifold", extra="serve")  # what is not loaded yet is not limited
    limits: AbstractContextManager[object] = need("threadpoolctl", extra="serve").threadpool_limits(
        1, user_api="openmp"
    )
    return limits


def _neighbourly(unit: Vectors, plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return t-SNE's points, begun from a `plane` with a spread.

    `init="pca"` would divide by a spread of 0, too, and NaN ends the process (SIGSEGV).
    """
    tsne = need("sklearn.manifold", extra="serve").TSNE
    found = tsne(
        n_components=2,
        perplexity=min(30, (len(unit) - 1) / 3),
        metric="cosine",
        init=(plane / plane[:, 0].std() * 1e-4).astype(np.float32),  # the scale it asks for
        random_state=0,
    ).fit_transform(unit)
    return np.asarray(found, np.float64)


def _principal(unit: Vectors) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = (unit - unit.mean(axis=0)).astype(np.float64)
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(unit), 2))
    width = min(2, len(spread))
    plane[:, :width] = (left * spread)[:, :width]
    return plane


def _stretched(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points with both coordinates from 0 to 1; rounding is not stretched."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    width = high - low
    stretched: NDArray[np.float64] = (plane - low) / np.where(width > _EQUAL, width, 1)
    return stretched
