"""Which rows make up which batch: a pure function of (seed, epoch), the same after every resume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]


def uses(weights: NDArray[np.float64], *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how often each row is used in one epoch: `weights` on average, and in total.

    A weight of 1.3 is one use, and a second one in three epochs of ten (systematic sampling: one
    random number decides for all rows, so the total varies by at most one).
    """
    edges = np.floor(np.concatenate([[0.0], np.cumsum(weights)]) + rng.random())
    return np.diff(edges).astype(np.int64)


def plan_epoch(
    weights: NDArray[np.float64],
    *,
    size: int,
    seed: int,
    epoch: int,
    keys: Keys | None = None,
    topics: Keys | None = None,
) -> NDArray[np.int64]:
    """Return the rows of an epoch's batches, shuffled, as (batches, size).

    With `keys` (rows, any) no two rows of a batch share a key, so none can be another's false
    negative by text; a row that would clash waits for a later batch. With `topics` (rows,) a batch
    is filled from one topic, or from two where one ends. What does not fill a whole batch at the
    end is left for other epochs.
    """
    rng = np.random.default_rng((seed, epoch))
    order = np.repeat(np.arange(len(weights)), uses(weights, rng=rng))
    rng.shuffle(order)
    if topics is not None:
        order = _by_topic(order, topics, rng=rng)
    if keys is None:
        batches = order[: len(order) // size * size].reshape(-1, size)
    else:
        batches = _without_clashes(order.tolist(), size=size, keys=keys)
    return batches if topics is None else batches[rng.permutation(len(batches))]


def _by_topic(
    order: NDArray[np.int64], topics: Keys, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return `order` topic after topic, the topics in a random order of their own."""
    places = rng.permutation(int(topics.max(initial=0)) + 1)
    return order[np.argsort(places[topics[order]], kind="stable")]


def _without_clashes(order: list[int], *, size: int, keys: Keys) -> NDArray[np.int64]:
    keys_of, coming = keys.tolist(), iter(order)
    batches: list[list[int]] = []
    waiting: list[int] = []
    while True:
        batch: list[int] = []
        clashing: list[int] = []
        taken: set[int] = set()
        earlier = iter(waiting)
        for row in chain(earlier, coming):
            if taken.isdisjoint(keys_of[row]):
                batch.append(row)
                taken.update(keys_of[row])
                if len(batch) == size:
                    break
            else:
                clashing.append(row)
        if len(batch) < size:
            return np.array(batches, dtype=np.int64).reshape(len(batches), size)
        batches.append(batch)
        waiting = [*clashing, *earlier]


def graded_batches(
    sources: Sequence[str], *, size: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return the graded pairs of an epoch's batches, (batches, size), each of one source.

    What does not fill a batch of its source is left for other epochs.
    """
    rng, known = np.random.default_rng((seed, 1, epoch)), np.array(sources)
    batches = [np.empty((0, size), np.int64)]
    for source in sorted(set(sources)):
        rows = rng.permutation(np.flatnonzero(known == source))
        batches.append(rows[: len(rows) // size * size].reshape(-1, size))
    joined = np.concatenate(batches)
    return joined[rng.permutation(len(joined))]


class Plan(NamedTuple):
    """The batches of a whole run, in order."""

    rows: NDArray[np.int64]
    """(batches, size)"""
    epochs: NDArray[np.int64]
    """(batches,) the epoch, from 0, a batch belongs to."""
    per_epoch: int
    """Batches of a whole epoch, the first, even where the run ends before it does."""


def plan_run(
    weights: NDArray[np.float64],
    *,
    size: int,
    seed: int,
    epochs: float,
    most: int | None = None,
    keys: Keys | None = None,
    topics: Keys | None = None,
) -> Plan:
    """Return the batches of `epochs` (the last one may be begun only), at most `most` of them."""
    plans: list[NDArray[np.int64]] = []
    per_epoch = 0
    for epoch in range(math.ceil(epochs)):
        plan = plan_epoch(weights, size=size, seed=seed, epoch=epoch, keys=keys, topics=topics)
        per_epoch = per_epoch or len(plan)
        plans.append(plan[: round(len(plan) * min(1.0, epochs - epoch))])
        if most is not None and sum(map(len, plans)) >= most:
            break
    numbers = np.repeat(np.arange(len(plans)), [len(plan) for plan in plans])
    return Plan(np.concatenate(plans)[:most], numbers[:most], per_epoch)
