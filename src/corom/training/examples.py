"""What a row gives in an epoch: a query, one positive, negatives; a pure function of the three.

Rows come from files of groups or pairs, or from dataset folders; their texts are held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_TRIES = 100


class Row(NamedTuple):
    """A query with passages known to answer it and passages known not to."""

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    source: str


class Drawn(NamedTuple):
    """What a row contributes to a batch."""

    query: str
    positive: str
    negatives: tuple[str, ...]


class GradedRow(NamedTuple):
    """Two texts and how alike or relevant they are.

    Only the order of labels counts, and only within a source: two sources that say 1 may mean
    different things by it.
    """

    left: str
    right: str
    label: float
    source: str = ""


def text_key(text: str) -> int:
    """Return a whole number that stands for a text, never 0; equal texts, equal numbers."""
    digest = hashlib.blake2b(text.strip().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def row_keys(rows: Sequence[Row]) -> NDArray[np.int64]:
    """Return (rows, n) keys of each row's query and positives, shorter rows filled by repeating."""
    width = max((len(row.positives) for row in rows), default=0) + 1
    keys = np.empty((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        own = [text_key(text) for text in (row.query, *row.positives)]
        keys[number] = own + own[:1] * (width - len(own))
    return keys


def draw(
    rows: Sequence[Row],
    number: int,
    *,
    negatives: int,
    seed: int,
    epoch: int,
    pool: Sequence[str] = (),
    answers: Sequence[str] = (),
) -> Drawn:
    """Return row `number`'s part of an epoch: one positive and up to `negatives` others.

    The row's own negatives come first, none twice; what lacks is drawn from `pool` (no positive of
    the row, none of the `answers` that other rows know, no text twice).
    """
    row, rng = rows[number], np.random.default_rng((seed, epoch, number))
    positive = row.positives[rng.integers(len(row.positives))]
    own = rng.permutation(len(row.negatives))[:negatives]
    chosen = [row.negatives[place] for place in own]
    known = {text.strip() for text in (*row.positives, *answers)}
    for _ in range(_TRIES if pool else 0):
        if len(chosen) >= negatives:
            break
        text = pool[int(rng.integers(len(pool)))]
        if text.strip() not in known and text not in chosen:
            chosen.append(text)
    return Drawn(row.query, positive, tuple(chosen))
