"""How much memory, disk and time a corpus takes, from figures that were measured.

`bundled/capacity.json` holds them, made by `benchmarks/bench_capacity.py --calibrate`: every layout
at two sizes. Memory and disk lie on the line through the two; times on the curve through them that
the layout's search and build follow. A plan is an estimate for machines like the measured one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import inf, log
from typing import Literal, NamedTuple, TypeAlias, get_args

from corom.checks import require_one_of
from corom.errors import InputError

Term: TypeAlias = Callable[[float], float]
Precision: TypeAlias = Literal["float32", "float16", "int8", "binary"]


class Layout(NamedTuple):
    """A way to keep and search vectors: bytes per number, on disk and in memory, and its growth."""

    disk: float
    memory: float
    search: Literal["scan", "graph", "lists"]
    driver: str
    """what its cost follows"""


LAYOUTS: Mapping[str, Layout] = {
    "exact float32": Layout(4, 4, "scan", "memory: each query reads 4 bytes of every number"),
    "exact float16": Layout(2, 2, "scan", "memory: each query reads 2 bytes of every number"),
    "exact int8": Layout(3, 1, "scan", "memory: each query reads 1 byte of every number"),
    "exact binary": Layout(2.125, 0.125, "scan", "reading: each query reads 1 bit of every number"),
    "hnsw": Layout(3, 1, "graph", "building the graph, and memory for it"),
    "ivfpq": Layout(2, 0, "lists", "recall: a vector is 64 bytes until it is scored again"),
    "Milvus exact": Layout(4, 4, "scan", "memory of the query nodes"),
    "Milvus hnsw": Layout(4, 4, "graph", "memory of the query nodes, building the graph"),
    "pgvector exact": Layout(4, 4, "scan", "memory for the table, one query a core"),
    "pgvector hnsw": Layout(8, 8, "graph", "building the graph in maintenance_work_mem"),
}
_OF_PRECISION: Mapping[str, Sequence[str]] = {
    "float32": ("exact float32",),
    "float16": ("exact float16", "ivfpq"),
    "int8": ("exact int8", "hnsw", "ivfpq"),
    "binary": ("exact binary",),
}
_SERVERS = tuple(name for name in LAYOUTS if name.partition(" ")[0] in ("Milvus", "pgvector"))
_SHARD_BYTES: Mapping[str, float] = {"float32": 4, "float16": 2, "int8": 1, "binary": 2}


class Measured(NamedTuple):
    """One layout at one size."""

    layout: str
    passages: int
    dim: int
    text_bytes: float
    """mean of a passage's text in UTF-8"""
    disk_bytes: float
    memory_bytes: float
    build_seconds: float
    """on the cores of the machine, vectors given"""
    queries_per_second: float


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    runs: tuple[Measured, ...]
    texts_per_second_per_core: float
    tokens_per_text: float
    machine: str
    cores: int
    date: str

    def of(self, layout: str) -> tuple[Measured, Measured] | None:
        """Return the smallest and the largest run of a layout; None if it was not measured."""
        runs = sorted((r for r in self.runs if r.layout == layout), key=lambda r: r.passages)
        return (runs[0], runs[-1]) if len(runs) > 1 else None


class Estimate(NamedTuple):
    """What one layout takes."""

    layout: str
    memory_bytes: float
    disk_bytes: float
    build_hours: float
    queries_per_second: float
    driver: str


class Plan(NamedTuple):
    """What a corpus takes: encoding first, then one of the layouts."""

    encode_hours: float
    shard_bytes: float
    layouts: tuple[Estimate, ...]


@cache
def figures() -> Figures:
    """Return the figures the package carries, as `benchmarks/bench_capacity.py` wrote them."""
    value = json.loads(files("corom.bundled").joinpath("capacity.json").read_text())
    encode = value["encode"]
    return Figures(
        tuple(Measured(**run) for run in value["runs"]),
        encode["texts_per_second_per_core"],
        encode["tokens_per_text"],
        value["machine"]["cpu"],
        value["machine"]["cpus"],
        value["date"][:10],
    )


def plan(
    passages: float,
    *,
    dim: int,
    precision: Precision = "float32",
    text_bytes: float | None = None,
    tokens: float | None = None,
    cores: int | None = None,
    known: Figures | None = None,
) -> Plan:
    """Return what `passages` vectors of `dim` numbers take in every layout that was measured.

    `text_bytes` and `tokens` are the means of a passage (default: those of the measured texts),
    `cores` those that encode and build. Raises InputError for numbers below 1.
    """
    known = known or figures()
    cores = known.cores if cores is None else cores
    given = {"passages": passages, "dim": dim, "cores": cores}
    for name, value in {**given, "text_bytes": text_bytes, "tokens": tokens}.items():
        if value is not None and not 1 <= value < inf:
            raise InputError(f"{name} is {value!r}; it must be 1 or more")
    require_one_of("precision", precision, get_args(Precision))
    rate = known.texts_per_second_per_core * cores
    longer = 1 if tokens is None else tokens / known.tokens_per_text
    names = [*_OF_PRECISION[precision], *_SERVERS]
    estimates = (
        _estimate(name, runs, passages, dim, text_bytes, cores / known.cores)
        for name in names
        if (runs := known.of(name)) is not None
    )
    return Plan(
        passages * longer / rate / 3600,
        passages * dim * _SHARD_BYTES[precision],
        tuple(estimates),
    )


def _estimate(
    name: str,
    runs: tuple[Measured, Measured],
    passages: float,
    dim: int,
    text_bytes: float | None,
    cores: float,
) -> Estimate:
    layout, (small, large) = LAYOUTS[name], runs
    texts = 0.0 if text_bytes is None else text_bytes - large.text_bytes
    more = dim - large.dim
    fixed, growing = _GROWTH[layout.search]
    wider = dim / large.dim
    build = _curve(small, large, passages, lambda run: run.build_seconds, growing)
    query = _curve(small, large, passages, lambda run: 1 / run.queries_per_second, fixed)
    return Estimate(
        layout=name,
        memory_bytes=_line(small, large, "memory_bytes", passages)
        + passages * more * layout.memory,
        disk_bytes=_line(small, large, "disk_bytes", passages)
        + passages * (more * layout.disk + texts),
        build_hours=build * wider / cores / 3600,
        queries_per_second=1 / (query * wider),
        driver=layout.driver,
    )


def _line(small: Measured, large: Measured, what: str, passages: float) -> float:
    """Return the value at `passages` on the line through two measured values, at least 0."""
    low, high = getattr(small, what), getattr(large, what)
    slope = max(0.0, (high - low) / (large.passages - small.passages))
    return float(max(0.0, high + slope * (passages - large.passages)))


def _curve(
    small: Measured,
    large: Measured,
    passages: float,
    value: Callable[[Measured], float],
    terms: tuple[Term, Term],
) -> float:
    """Return the value at `passages` of a * first + b * second through two measured values.

    The second term alone, through the larger run, where the smaller has no passages or the curve
    would need a term below zero.
    """
    first, second = terms
    n, m = small.passages, large.passages
    low, high = value(small), value(large)
    if n > 0:
        whole = first(n) * second(m) - first(m) * second(n)
        a = (low * second(m) - high * second(n)) / whole
        b = (high * first(n) - low * first(m)) / whole
        if a >= 0 and b >= 0:
            return a * first(passages) + b * second(passages)
    return high * second(passages) / second(m)


def _log(n: float) -> float:
    return log(max(n, 2))


# By how a layout searches: the terms of the seconds of a query, and of the build.
_GROWTH: Mapping[str, tuple[tuple[Term, Term], tuple[Term, Term]]] = {
    "scan": ((lambda _: 1.0, lambda n: n), (lambda _: 1.0, lambda n: n)),
    # each passage is searched for in the graph so far
    "graph": ((lambda _: 1.0, _log), (lambda n: n, lambda n: n * _log(n))),
    # 4 sqrt(n) lists, with all of whose centres each passage is compared; codes are learnt from a
    # sample of one size
    "lists": ((lambda _: 1.0, lambda n: n**0.5), (lambda _: 1.0, lambda n: n**1.5)),
}
