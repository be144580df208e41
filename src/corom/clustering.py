"""Groups of texts that mean much the same: vectors in, labels and a description out.

Two ways, both from scikit-learn (extra `cluster`), both on vectors of length 1, where the nearest
are those with the highest cosine: k-means, when the number of groups is known, and HDBSCAN, which
finds groups where vectors are dense and leaves the rest alone.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.checks import require_whole
from corom.errors import InputError
from corom.extras import need
from corom.vectors import Vectors, normalized
from corom.words import segment

Labels = NDArray[np.int64]
"""(n,): the cluster of each vector, 0 being the largest cluster; -1 for none."""

NOISE = -1
_ALIKE = 1e-6


class Cluster(NamedTuple):
    """What a cluster holds."""

    rows: tuple[int, ...]
    """its members, the most typical first: `rows[0]` is the medoid"""
    cohesion: float
    """mean cosine of the members to their mean direction; 1 when all are alike"""
    keywords: tuple[str, ...]
    """words frequent in it and rare elsewhere, the most telling first"""


def cluster_kmeans(vectors: Vectors, count: int, *, seed: int = 0) -> Labels:
    """Return labels of `count` clusters; the same vectors and seed give the same labels.

    Costs about n · dim · count operations a round; of vectors that are alike there come fewer
    clusters. Raises InputError if there are fewer vectors than clusters.
    """
    _check(vectors)
    if type(count) is not int or not 1 <= count <= len(vectors):
        raise InputError(f"{len(vectors)} vectors cannot make {count!r} clusters")
    kmeans = need("sklearn.cluster", extra="cluster").KMeans
    require_whole("seed", seed, low=0, high=2**32 - 1)
    with warnings.catch_warnings():  # of fewer texts that differ than clusters
        warnings.simplefilter(
            "ignore", need("sklearn.exceptions", extra="cluster").ConvergenceWarning
        )
        found = kmeans(n_clusters=count, n_init=4, random_state=seed).fit(normalized(vectors))
    return _by_size(found.labels_)


def cluster_density(vectors: Vectors, *, least: int = 5) -> Labels:
    """Return labels of the clusters with at least `least` members; the others are -1.

    How many there are follows from the vectors. Compares all pairs: for up to some 20,000.
    """
    _check(vectors)
    require_whole("the least size of a cluster", least, low=2)
    if len(vectors) < least:
        return np.full(len(vectors), NOISE, np.int64)
    hdbscan = need("sklearn.cluster", extra="cluster").HDBSCAN
    unit = normalized(vectors)
    if np.ptp(unit, axis=0).max() < _ALIKE:  # HDBSCAN never takes everything for one cluster
        return np.zeros(len(unit), np.int64)
    return _by_size(hdbscan(min_cluster_size=least, copy=True).fit(unit).labels_)


def describe_clusters(
    labels: Labels, vectors: Vectors, texts: Sequence[str], *, keywords: int = 8
) -> list[Cluster]:
    """Return what each cluster holds, in the order of the labels, those without one left out.

    A word's weight is p · log(p / q), p being its share of the cluster's texts and q of all that
    are in clusters: its part in the Kullback-Leibler divergence of the two.
    """
    if not len(labels) == len(vectors) == len(texts):
        raise InputError(
            f"{len(labels)} labels, {len(vectors)} vectors and {len(texts)} texts do not match"
        )
    unit = normalized(vectors)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels) if label != NOISE]
    counts = [_word_counts(texts[row] for row in rows.tolist()) for rows in members]
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    clustered = sum(map(len, members))
    found = []
    for rows, count in zip(members, counts, strict=True):
        closeness = unit[rows] @ normalized(unit[rows].mean(axis=0, keepdims=True))[0]
        order = rows[np.argsort(-closeness, kind="stable")]
        weights = {
            word: n / len(rows) * log(n / len(rows) * clustered / total[word])
            for word, n in count.items()
        }
        best = sorted(weights, key=lambda word: (-weights[word], word))[: 4 * keywords]
        telling = tuple(word for word in best if not _is_part(word, best, count))[:keywords]
        found.append(Cluster(tuple(order.tolist()), float(closeness.mean()), telling))
    return found


def _is_part(word: str, others: Sequence[str], count: Counter[str]) -> bool:
    """Whether a longer word says the same: 糖尿 where 糖尿病 is in as many texts."""
    return any(word in other and word != other and count[other] == count[word] for other in others)


def _word_counts(texts: Iterable[str]) -> Counter[str]:
    """Return in how many texts each word occurs; single characters say too little."""
    return Counter(
        word
        for text in texts
        for word in set(segment(text))
        if len(word) > 1 and not word.isdigit()
    )


def _by_size(labels: Labels) -> Labels:
    """Return the labels renumbered: the largest cluster first, of equal ones the earlier."""
    names, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    order = [names[at] for at in np.lexsort((first, -sizes)) if names[at] != NOISE]
    numbers = {name: number for number, name in enumerate(order)} | {NOISE: NOISE}
    return np.array([numbers[label] for label in labels.tolist()], np.int64)


def _check(vectors: Vectors) -> None:
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise InputError(f"vectors must be finite and (n, dim), not of shape {vectors.shape}")
