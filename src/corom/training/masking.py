"""Which tokens to hide: retrieval-oriented masking (ROM) by term importance.

ROM (Long et al., 2210.15133) masks a token the more often the more it matters for retrieval; the
paper's abstract names no weight, so ours is BM25's term weight, from the corpus itself:

    importance(t, d) = idf(t) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * |d| / mean |d|))
    idf(t)           = ln(1 + (N - df(t) + 0.5) / (df(t) + 0.5))

with tf the count of token t in the span d, df and N those of the corpus, k1 = 1.2, b = 0.75. The
probability of masking a token is its importance, scaled so that the mean over the span is the
masking rate, and at most `CAP`: function words and punctuation are left alone, names of diseases
and drugs are hidden often, yet never always.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

K1, B = 1.2, 0.75
CAP = 0.6
UNMASKED = -100
"""The label of a token that is not to be predicted (what torch's cross entropy ignores)."""


class Statistics(NamedTuple):
    """What a corpus says about its tokens."""

    frequencies: NDArray[np.int64]
    """(vocabulary,) documents a token occurs in."""
    documents: int
    mean_length: float


def importance(ids: NDArray[np.int64], statistics: Statistics) -> NDArray[np.float64]:
    """Return (n,) the BM25 weight of each token of a span in that span."""
    _, places, counts = np.unique(ids, return_inverse=True, return_counts=True)
    frequency, df = counts[places], statistics.frequencies[ids]
    idf = np.log1p((statistics.documents - df + 0.5) / (df + 0.5))
    length = 1 - B + B * len(ids) / statistics.mean_length
    weights: NDArray[np.float64] = idf * frequency * (K1 + 1) / (frequency + K1 * length)
    return weights


def probabilities(weights: NDArray[np.float64], *, rate: float) -> NDArray[np.float64]:
    """Return (n,) probabilities proportional to `weights`, at most CAP, `rate` in the mean.

    What CAP cuts off is shared among the rest, again by weight.
    """
    chances = np.full(len(weights), min(rate, CAP))
    free = np.ones(len(weights), dtype=bool)
    while free.any() and (total := weights[free].sum()) > 0:
        left = rate * len(weights) - CAP * (~free).sum()
        chances[free] = left * weights[free] / total
        over = free & (chances > CAP)
        if not over.any():
            break
        chances[over], free = CAP, free & ~over
    capped: NDArray[np.float64] = np.minimum(chances, CAP)
    return capped


def mask(
    ids: NDArray[np.int64],
    chances: NDArray[np.float64],
    *,
    mask_id: int,
    vocabulary: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tokens with some hidden, and their labels (UNMASKED for all others).

    As in BERT, of the hidden ones 80 % become [MASK], 10 % a random token, 10 % stay.
    """
    hidden = rng.random(len(ids)) < chances
    fate = rng.random(len(ids))
    shown = np.where(hidden & (fate < 0.8), mask_id, ids)
    randoms = rng.integers(0, vocabulary, len(ids))
    shown = np.where(hidden & (fate >= 0.9), randoms, shown)
    return shown, np.where(hidden, ids, UNMASKED)
