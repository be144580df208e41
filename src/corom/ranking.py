"""The one ranking rule, and everything that has to obey it.

Score descending, then id ascending. Ids that are decimal numbers compare by value and come
before all others, which compare as strings; so a list of numbers is in numeric order, and the
order of two ids never depends on which other ids are there. A NaN score and an id that occurs
twice in one ranking are refused.

Arrays hold positions instead of ids. Where the positions are not in the order of the ids, `ranks`
says where each position's id stands: `ranks[order_ids(ids)] = arange(n)`, see `id_ranks`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import isnan
from operator import attrgetter, gt
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.checks import require_whole
from corom.errors import InputError
from corom.records import Hit, Run

_score = attrgetter("score")

IdKey: TypeAlias = tuple[bool, int, str, str]


class TopK(NamedTuple):
    """The best passages of each query, best first: two `(queries, min(k, n))` arrays."""

    positions: NDArray[np.int64]
    scores: NDArray[np.float32]


def id_key(id_: str) -> IdKey:
    """What ids are compared by: numbers by value, then everything else as strings."""
    if id_.isascii() and id_.isdigit():
        digits = id_.lstrip("0")  # of equal length these compare like their values: no int() needed
        return False, len(digits), digits, id_
    return True, 0, "", id_


def order_ids(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the positions of `ids` in ascending order of id; refuse an id that occurs twice."""
    require_unique(ids)
    keys = [id_key(id_) for id_ in ids]
    return np.array(sorted(range(len(ids)), key=keys.__getitem__), dtype=np.int64)


def order_encoded_ids(ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Return what `order_ids` does, of ids as UTF-8 in one array; equal ids keep their order.

    For millions of ids: takes some bytes per id where Python strings take hundreds.
    """
    number = np.strings.isdigit(ids)
    digits = np.where(number, np.strings.lstrip(ids, b"0"), b"")
    order: NDArray[np.int64] = np.lexsort((ids, digits, np.strings.str_len(digits), ~number))
    return order


def id_ranks(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return where each id stands in ascending order; refuse an id that occurs twice."""
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[order_ids(ids)] = np.arange(len(ids))
    return ranks


def rank_hits(hits: Iterable[Hit], k: int | None = None) -> list[Hit]:
    """Return the first `k` (default: all) hits in rank order; refuse NaN and repeated ids.

    What is in order already, or nearly, takes little time.
    """
    if k is not None:
        require_whole("k", k)
    ranked = list(hits)
    if any(map(isnan, map(_score, ranked))):
        raise InputError("a score is NaN; only numbers can be ranked")
    require_unique([hit.id for hit in ranked])
    ranked.sort(key=_score, reverse=True)
    scores = list(map(_score, ranked))
    if not all(map(gt, scores, scores[1:])):
        for start, end in _ties(scores):
            ranked[start:end] = sorted(ranked[start:end], key=lambda hit: id_key(hit.id))
    return ranked[:k]


def _ties(scores: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of equal scores."""
    start = 0
    for place, (before, score) in enumerate(pairwise(scores), 1):
        if score != before:
            if place - start > 1:
                yield start, place
            start = place
    if len(scores) - start > 1:
        yield start, len(scores)


def top_k(scores: NDArray[np.float32], k: int, *, ranks: NDArray[np.int64] | None = None) -> TopK:
    """Return the `min(k, n)` best columns of every row of `scores`, `(queries, n) float32`.

    Exact, ties included: equal scores are in the order of `ranks`, `(n,) int64`, or of the
    columns. Costs one partition per row. Raises InputError on NaN.
    """
    require_whole("k", k)
    if scores.ndim != 2 or scores.dtype != np.float32:
        raise InputError(f"scores are {scores.ndim}-d {scores.dtype}, not (queries, n) float32")
    rows, n = scores.shape
    k = min(k, n)
    best = TopK(np.empty((rows, k), np.int64), np.empty((rows, k), np.float32))
    if not rows or not k:
        return best
    if np.isnan(scores.max(axis=1)).any():
        raise InputError("a score is NaN; only numbers can be ranked")
    worst_kept = np.partition(scores, n - k, axis=1)[:, n - k]
    for row in range(rows):
        # Everything tied with the last place takes part, so the rule decides who gets it.
        candidates = np.flatnonzero(scores[row] >= worst_kept[row])
        tie = candidates if ranks is None else ranks[candidates]
        chosen = candidates[np.lexsort((tie, -scores[row, candidates]))[:k]]
        best.positions[row] = chosen
        best.scores[row] = scores[row, chosen]
    return best


def fuse_rrf(runs: Sequence[Run], *, k: int = 60) -> dict[str, list[Hit]]:
    """Return the reciprocal rank fusion of runs: the sum over runs of `1 / (k + rank)`.

    Ranks count from 1, in the order of the one rule; a passage a run does not hold gets nothing
    from it. Source: Cormack, Clarke, Büttcher, SIGIR 2009 (k = 60).
    """
    require_whole("k", k)
    return _fuse([{q: _reciprocal_ranks(hits, k) for q, hits in run.items()} for run in runs])


def fuse_weighted(runs: Sequence[Run], weights: Sequence[float]) -> dict[str, list[Hit]]:
    """Return the weighted sum of runs whose scores were first stretched to 0..1 per query.

    `(score - worst) / (best - worst)` over the hits of one query in one run (all 1 when they are
    equal); a passage a run does not hold gets 0 from it, as its last hit does. Weights are finite
    and not negative, one per run; a run with a weight of 0 adds no passages.
    """
    if len(weights) != len(runs):
        raise InputError(f"{len(weights)} weights for {len(runs)} runs; give one per run")
    if not all(0 <= weight < float("inf") for weight in weights):
        raise InputError(f"weights {list(weights)} must be finite and not negative")
    return _fuse(
        [
            {q: _weighted(hits, weight) for q, hits in run.items()}
            for run, weight in zip(runs, weights, strict=True)
        ]
    )


def _reciprocal_ranks(hits: Sequence[Hit], k: int) -> dict[str, float]:
    return {hit.id: 1 / (k + rank) for rank, hit in enumerate(rank_hits(hits), start=1)}


def _weighted(hits: Sequence[Hit], weight: float) -> dict[str, float]:
    return {id_: weight * score for id_, score in _stretched(hits).items() if weight}


def _stretched(hits: Sequence[Hit]) -> dict[str, float]:
    ranked = rank_hits(hits)
    if not ranked:
        return {}
    best, worst = ranked[0].score, ranked[-1].score
    if not np.isfinite(best - worst):
        raise InputError("an infinite score cannot be stretched to 0..1")
    if best == worst:
        return {hit.id: 1.0 for hit in ranked}
    return {hit.id: (hit.score - worst) / (best - worst) for hit in ranked}


def _fuse(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, list[Hit]]:
    fused: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for run in runs:
        for query_id, scores in run.items():
            total = fused[query_id]
            for id_, score in scores.items():
                total[id_] += score
    return {q: rank_hits(Hit(i, s) for i, s in scores.items()) for q, scores in fused.items()}


def require_unique(ids: Sequence[str]) -> None:
    """Raise InputError, naming the first, if an id occurs twice."""
    if len(set(ids)) < len(ids):
        raise occurs_twice(next(id_ for id_, times in Counter(ids).items() if times > 1))


def occurs_twice(id_: str) -> InputError:
    """Return what is wrong with ids of which this is one more than once."""
    return InputError(f"id {id_!r} occurs twice; ids must be unique")
