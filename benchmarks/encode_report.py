"""From the rounds of the encode benchmark to its tables: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench import table
from corom.models.config import Shape


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One back end in one round, in seconds."""

    passages: float
    queries: float
    p50: float
    p99: float
    peak: dict[str, float]
    """operations per second by precision: the better of just before and just after"""
    peak_mb: float
    """the most memory its process had so far"""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One pass over all back ends; `load` is the machine's one-minute load average after it."""

    order: list[str]
    load: float
    timings: dict[str, Timing]


@dataclass(frozen=True, kw_only=True)
class Once:
    """What is measured once for each back end, not in every round."""

    precision: str
    load_seconds: float
    cold_seconds: list[float]
    """from starting the process to its first vector"""
    mean_cosine: float | None = None
    min_cosine: float | None = None


class Work(NamedTuple):
    """What encoding the sample takes."""

    tokens: int
    operations: float


class Ratio(NamedTuple):
    """How many times faster than the reference: paired by round, and fastest against fastest."""

    median: float
    least: float
    most: float
    best: float


def needed_operations(shape: Shape, lengths: Iterable[int]) -> float:
    """Return the multiplications and additions [CLS] vectors of texts really need.

    Of n tokens (none of them padding), with H hidden and I inner, a layer needs

        2 n (4 H^2 + 2 H I) + 4 n^2 H        projections and feed-forward; scores and mixing

    and the last one, whose other tokens are only keys and values,

        2 n (2 H^2) + 2 (2 H^2 + 2 H I) + 4 n H

    Embeddings, norms, softmax and activations are not counted.
    """
    n = np.fromiter(lengths, np.float64)
    hidden, inner = shape.hidden, shape.intermediate
    layer = 2 * n * (4 * hidden**2 + 2 * hidden * inner) + 4 * n**2 * hidden
    last = 2 * n * 2 * hidden**2 + 2 * (2 * hidden**2 + 2 * hidden * inner) + 4 * n * hidden
    return float(((shape.layers - 1) * layer + last).sum())


def ratio(rounds: Sequence[Round], name: str, *, reference: str, of: str) -> Ratio:
    """Return how many times less of `of` (a field of Timing) `name` takes than `reference`."""
    times = [
        (getattr(round_.timings[reference], of), getattr(round_.timings[name], of))
        for round_ in rounds
        if name in round_.timings and reference in round_.timings
    ]
    each = [theirs / ours for theirs, ours in times]
    best = min(theirs for theirs, _ in times) / min(ours for _, ours in times)
    return Ratio(median(each), min(each), max(each), best)


def peak_shares(
    rounds: Sequence[Round], name: str, *, work: Work, of: str, precision: str
) -> list[float]:
    """Return the share of the matrix peak reached in each round; empty if it was not measured."""
    timings = [round_.timings[name] for round_ in rounds if name in round_.timings]
    return [
        work.operations / getattr(timing, of) / timing.peak[precision]
        for timing in timings
        if precision in timing.peak
    ]


def speed_table(
    rounds: Sequence[Round],
    once: Mapping[str, Once],
    *,
    names: Sequence[str],
    reference: str,
    work: Mapping[str, tuple[Work, Work]],
) -> list[dict[str, Any]]:
    """Return one record per back end: throughput of passages and queries, latency, the rest."""
    rows = []
    for name in names:
        timings = [round_.timings[name] for round_ in rounds if name in round_.timings]
        if not timings or not any(reference in round_.timings for round_ in rounds):
            continue
        row: dict[str, Any] = {"name": name, "precision": once[name].precision}
        for of, load in zip(("passages", "queries"), work[name], strict=True):
            shares = peak_shares(rounds, name, work=load, of=of, precision=row["precision"])
            row[of] = {
                **ratio(rounds, name, reference=reference, of=of)._asdict(),
                "best_tokens_per_second": load.tokens / min(getattr(t, of) for t in timings),
                "median_peak_share": median(shares) if shares else None,
                "best_peak_share": max(shares) if shares else None,
            }
        row["latency"] = {
            **ratio(rounds, name, reference=reference, of="p50")._asdict(),
            "median_p50": median(timing.p50 for timing in timings),
            "median_p99": median(timing.p99 for timing in timings),
        }
        row["peak_mb"] = timings[-1].peak_mb
        row["rounds"] = len(timings)
        rows.append(row)
    return rows


def format_speed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the throughput table as text; of the peak the median share and the best."""
    return table(
        [
            {"back end": row["name"], "in": row["precision"]}
            | {of: _throughput(row[of]) for of in ("passages", "queries")}
            for row in rows
        ]
    )


def _throughput(part: Mapping[str, Any]) -> dict[str, str]:
    return {
        "x": f"{part['median']:.2f} {_span(part['least'], part['most'])}",
        "best": f"{part['best']:.2f}",
        "tok/s": f"{part['best_tokens_per_second']:.0f}",
        "peak": f"{_percent(part['median_peak_share'])} / {_percent(part['best_peak_share'])}",
    }


def format_rest(rows: Sequence[Mapping[str, Any]], once: Mapping[str, Once]) -> str:
    """Return latency, cold start, memory and fidelity as text."""
    lines = []
    for row in rows:
        one, latency = once[row["name"]], row["latency"]
        cold = one.cold_seconds
        cosines = {"cosine": one.mean_cosine, "least": one.min_cosine}
        lines.append(
            {
                "back end": row["name"],
                "p50 ms": f"{latency['median_p50'] * 1e3:.1f}",
                "p99 ms": f"{latency['median_p99'] * 1e3:.1f}",
                "p50 x": f"{latency['median']:.2f} {_span(latency['least'], latency['most'])}",
                "cold s": f"{median(cold):.2f} {_span(min(cold), max(cold))}" if cold else "-",
                "peak MB": f"{row['peak_mb']:.0f}",
                **{name: "-" if x is None else f"{x:.5f}" for name, x in cosines.items()},
            }
        )
    return table(lines)


def _span(least: float, most: float) -> str:
    return f"[{least:.2f}-{most:.2f}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
