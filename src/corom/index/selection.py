"""The k best of each query while blocks of scores stream past, exactly, ties included.

A score and the rank of a passage's id make one 64-bit number that sorts as the ranking rule does,
so one partition of such numbers selects and breaks ties at once.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Scores: TypeAlias = NDArray[np.float32]
Keys: TypeAlias = NDArray[np.int64]

LOW = np.int64(0xFFFFFFFF)
GONE = np.int64(-1)
"""The tag of a row that must not be found."""
NONE = np.iinfo(np.int64).min
"""Sorts below every key."""


def keys_of(scores: Scores, tags: Keys) -> Keys:
    """Return numbers that sort by score, then by tag; `tags` are from 0 to 2**32 - 1."""
    bits = (scores + np.float32(0)).view(np.int32)  # adding 0 makes -0 and 0 one score
    # Of negative floats the bits count downwards; turned over, they sort as integers.
    return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 32) | tags


def scores_of(keys: Keys) -> Scores:
    """Return the scores that went into keys."""
    bits = (keys >> 32).astype(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)


class Selection:
    """Keeps at least the `k` best of what was offered with a score of `floor` or more.

    `floor`, `(queries,)`, is where each query starts to be interested; it rises when needed.
    Whoever guessed it must look at `short` afterwards. Takes some 40 k bytes per query.
    """

    def __init__(self, k: int, floor: Scores) -> None:
        self.k, self.floor = k, floor.copy()
        self._keys = np.full((len(floor), capacity(k)), NONE)
        self._fill = np.zeros(len(floor), np.int64)

    @property
    def short(self) -> NDArray[np.int64]:
        """The queries with fewer than `k` candidates."""
        return np.flatnonzero(self._fill < self.k)

    def offer(self, scores: Scores, tags: Keys) -> None:
        """Take from a block of `scores`, `(queries, b)`, whose column i is tagged `tags[i]`."""
        query, keys = self._interesting(scores, tags)
        counts = np.bincount(query, minlength=len(scores))
        if (self._fill + counts).max() > self._keys.shape[1]:
            self._squeeze()
            query, keys = _best_of_each(*self._interesting(scores, tags), self.k)
            counts = np.bincount(query, minlength=len(scores))
        before = np.cumsum(counts) - counts
        self._keys[query, np.arange(len(query)) + (self._fill - before)[query]] = keys
        self._fill += counts

    def tags(self) -> Keys:
        """Return the tags of the k best of each query, `(queries, k)`, in no order."""
        self._squeeze()
        return self._keys[:, : self.k] & LOW

    def _interesting(self, scores: Scores, tags: Keys) -> tuple[NDArray[np.int64], Keys]:
        """Return query and key of all scores that reach the floor, in order of query."""
        hits = np.flatnonzero(scores >= self.floor[:, None])
        query, column = np.divmod(hits, scores.shape[1])
        tag = tags[column]
        keys = keys_of(scores.reshape(-1)[hits], tag)
        return query[tag != GONE], keys[tag != GONE]

    def _squeeze(self) -> None:
        """Keep the k best and let the floor rise to the last of them."""
        used = max(int(self._fill.max()), self.k)
        keys = self._keys[:, :used]
        keys.partition(used - self.k, axis=1)
        keys[:, : self.k] = keys[:, used - self.k :].copy()
        keys[:, self.k :] = NONE
        self._fill = np.minimum(self._fill, self.k)
        full = self._fill == self.k
        self.floor[full] = scores_of(keys[full, : self.k].min(axis=1))


def capacity(k: int) -> int:
    """Return for how many candidates per query a selection of `k` has room."""
    return 4 * k + 1024


def _best_of_each(query: NDArray[np.int64], keys: Keys, k: int) -> tuple[NDArray[np.int64], Keys]:
    order = np.lexsort((-keys, query))
    query, keys = query[order], keys[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    return query[place < k], keys[place < k]
