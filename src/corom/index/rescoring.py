"""Candidates of a first pass scored in fp32 and ranked by the one rule."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from corom.engines.processor import available_threads
from corom.index.collection import Collection
from corom.index.selection import LOW, NONE, keys_of, scores_of
from corom.ranking import TopK
from corom.vectors import Vectors

_FLOATS = 2**21
"""of passages, read at a time by a thread: 8 MB, for which Python's part is small"""


def rescored(
    collection: Collection, queries: Vectors, candidates: NDArray[np.int64], k: int
) -> TopK:
    """Return the best `k` of each query's candidate rows, `(queries, at least k)`, -1 for none.

    A score is one dot product in fp32, so it does not depend on what else is scored.
    """
    best = TopK(np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32))
    size = max(1, _FLOATS // (candidates.shape[1] * queries.shape[1]))
    blocks = [slice(start, start + size) for start in range(0, len(queries), size)]

    def rank(block: slice) -> None:
        keys = _keys(collection, queries[block], candidates[block])
        keys = np.sort(keys, axis=1)[:, : -k - 1 : -1]
        best.positions[block] = collection.rows_ranked(LOW - (keys & LOW))
        best.scores[block] = scores_of(keys)

    if len(blocks) == 1:  # a thread would cost more than one query takes
        rank(blocks[0])
        return best
    with ThreadPoolExecutor(min(len(blocks), available_threads())) as pool:
        for _ in pool.map(rank, blocks):
            pass
    return best


def _keys(
    collection: Collection, queries: Vectors, candidates: NDArray[np.int64]
) -> NDArray[np.int64]:
    rows = np.maximum(candidates, 0)
    vectors = collection.take("vectors", rows.ravel()).astype(np.float32, copy=False)
    scores = np.vecdot(vectors.reshape(*rows.shape, -1), queries[:, None])
    ranks = collection.ranks
    ranked = rows if ranks is None else ranks[rows].astype(np.int64)
    return np.where(candidates < 0, NONE, keys_of(scores, LOW - ranked))
