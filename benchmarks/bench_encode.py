"""Encoding side by side with other libraries: throughput, latency, cold start, memory.

    make bench-encode            (or, in an environment with corom and the peers:)
    python benchmarks/bench_encode.py --rounds 5

A 12-layer, 768-hidden BERT with seeded random weights encodes real medical text of at most 128
tokens. Every back end lives in a process of its own; all are loaded and warmed up, then take
turns in an order shuffled anew each round, so that whatever else the machine does hits all of
them; ratios are taken within a round. The matrix peak is measured between any two of them. See
docs/benchmarks.md. Everything made on the way is kept in `.bench/`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bench import describe, say
from corom.files import write_json
from corom.vectors import cosines
from encode_backends import REFERENCE, SAME_WEIGHTS, backend
from encode_client import BackendError, Worker
from encode_peak import Peak
from encode_report import Once, Round, Timing, format_rest, format_speed, speed_table
from encode_run import Bench, parse, prepare

LATENCY_QUERIES = 60


def cold_starts(bench: Bench, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return seconds from starting a process to its first vector, a few times for each."""
    found: dict[str, list[float]] = {name: [] for name in bench.names}
    for _ in range(bench.options.cold):
        for name in rng.permutation(bench.names).tolist():
            worker = bench.start(name)
            try:
                worker.load()
                worker.encode("query", bench.texts.queries[:1])
                found[name].append(worker.age())
            except BackendError as error:
                bench.drop(name, error)
            finally:
                worker.close()
    return found


def warm_up(bench: Bench, cold: Mapping[str, list[float]]) -> dict[str, Worker]:
    """Return every back end loaded, having encoded everything once; compare their vectors."""
    workers = {}
    for name in bench.names:
        worker = bench.start(name)
        try:
            loaded = worker.load()
            for side, texts in (("passage", bench.texts.passages), ("query", bench.texts.queries)):
                worker.vectors(side, texts, path=bench.options.work / f"{name}.{side}.npy")
        except BackendError as error:
            worker.close()
            bench.drop(name, error)
            continue
        workers[name] = worker
        bench.once[name] = Once(
            precision=loaded["precision"],
            load_seconds=loaded["seconds"],
            cold_seconds=cold[name],
        )
        say(f"{name} is loaded ({loaded['seconds']:.1f} s) and warm")
    return workers


def compare_vectors(bench: Bench) -> dict[str, tuple[float, float]]:
    """Return mean and least cosine to sentence-transformers fp32 on the same weights."""

    def vectors(name: str) -> Any:  # noqa: ANN401
        sides = (bench.options.work / f"{name}.{side}.npy" for side in ("passage", "query"))
        return np.concatenate([np.load(path, allow_pickle=False) for path in sides])

    found = {}
    for name in bench.names:
        exact = SAME_WEIGHTS.get(backend(name).model)
        if exact in bench.ready:
            closeness = cosines(vectors(exact), vectors(name))
            found[name] = (float(closeness.mean()), float(closeness.min()))
    return found


def run_round(bench: Bench, workers: dict[str, Worker], peak: Peak, order: list[str]) -> Round:
    """Return one round; a back end that fails leaves the run."""
    timings, before = {}, peak.measure()
    for name in order:
        worker, texts = workers[name], bench.texts
        try:
            passages = worker.encode("passage", texts.passages)
            queries = worker.encode("query", texts.queries)
            single = worker.each("query", texts.queries[:LATENCY_QUERIES])
        except BackendError as error:
            workers.pop(name).close()
            bench.drop(name, error)
            continue
        after = peak.measure()
        timings[name] = Timing(
            passages=passages,
            queries=queries,
            p50=float(np.percentile(single, 50)),
            p99=float(np.percentile(single, 99)),
            peak={key: max(before[key], after[key]) for key in after},
            peak_mb=worker.peak_memory(),
        )
        before = after
    return Round(order=order, load=os.getloadavg()[0], timings=timings)


def measure(bench: Bench) -> None:
    """Run everything that is timed."""
    rng, started = np.random.default_rng(bench.options.seed), time.monotonic()
    say(f"cold starts of {len(bench.names)} back ends, {bench.options.cold} of each")
    workers = warm_up(bench, cold_starts(bench, rng))
    try:
        peak = Peak(threads=bench.options.threads)
        for number in range(bench.options.rounds):
            if time.monotonic() - started > 60 * bench.options.minutes:
                say(f"{bench.options.minutes:g} minutes are over")
                break
            done = run_round(bench, workers, peak, rng.permutation(list(workers)).tolist())
            bench.rounds.append(done)
            say(f"round {number + 1} of {bench.options.rounds}, load average {done.load:.1f}")
        for name, (mean, least) in compare_vectors(bench).items():
            bench.once[name] = replace(bench.once[name], mean_cosine=mean, min_cosine=least)
    finally:
        for worker in workers.values():
            worker.close()


def report(bench: Bench) -> dict[str, Any]:
    """Print the tables; return them as records, by what they compare with."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for reference, names in (
        (REFERENCE, bench.names),
        (SAME_WEIGHTS["base"], [name for name in bench.names if backend(name).model == "base"]),
    ):
        rows = speed_table(
            bench.rounds, bench.once, names=names, reference=reference, work=bench.work()
        )
        if not rows:
            continue
        tables[reference] = rows
        print(f"\nTimes faster than {reference} (median of paired rounds); share of the peak")
        print(format_speed(rows))
        print(f"\nOne query at a time (times faster than {reference}), cold start, memory, cosine")
        print(format_rest(rows, bench.once))
    for name, reason in bench.failed.items():
        rounds = sum(name in done.timings for done in bench.rounds)
        say(f"{name} failed, {rounds} of {len(bench.rounds)} rounds measured: {reason}")
    return tables


def record(bench: Bench, tables: dict[str, Any]) -> dict[str, Any]:
    """Return everything worth keeping: where, what, the tables and the raw rounds."""
    chosen = ("rounds", "passages", "queries", "layers", "seed", "threads", "cold")
    texts = bench.texts
    return {
        **describe(threads=bench.options.threads),
        "settings": {
            **{name: getattr(bench.options, name) for name in chosen},
            "rounds": len(bench.rounds),
        },
        "tokens": {"passages": sum(texts.passage_tokens), "queries": sum(texts.query_tokens)},
        "gigaoperations": {
            name: [round(part.operations / 1e9, 2) for part in parts]
            for name, parts in bench.work().items()
        },
        "set_up": {
            name: {"seconds": done.seconds, "note": done.note} for name, done in bench.ready.items()
        },
        "failed": bench.failed,
        "tables": tables,
        "once": {name: asdict(one) for name, one in bench.once.items()},
        "rounds": [asdict(round_) for round_ in bench.rounds],
    }


def main() -> None:
    """Run the benchmark."""
    options = parse(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that workers end too
    os.environ.update(
        COROM_CACHE=str(options.work / "cache"),
        HF_HUB_OFFLINE="1",
        OMP_NUM_THREADS=str(options.threads),
    )
    # No library may take more processors than the others are given.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    bench = prepare(options)
    measure(bench)
    write_json(options.json, record(bench, report(bench)))
    say(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
