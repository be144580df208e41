"""Searching vectors side by side with faiss.

    make bench-search            (or, in an environment with corom and faiss:)
    python benchmarks/bench_search.py --passages 1000000
    python benchmarks/bench_search.py --only near      (the other part stays as it was measured)

Exact: the best `--k` of 1,000 queries over so many clustered vectors, seeded, of 768 numbers.
Near: HNSW and IVF-PQ over the vectors that the embedded model gives `--corpus`, asked with all of
its queries; recall@10 against exact search. Every engine lives in a process of its own; they take
turns in an order shuffled anew each round, and a ratio to faiss is taken within a round.
See docs/indexes.md; BM25 has bench_bm25.py.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import DATA, command_line, describe, say, spread, table
from corom import Encoder
from corom.engines.processor import has_bf16
from corom.environment import cache_folder
from corom.files import read_json, write_json
from corom.readers import open_dataset
from search_engines import Engine
from vector_files import embedded_vectors, make_vectors
from worker import Worker

EXACT = ["faiss flat", "corom fp32", "corom int8", "corom binary"]
if has_bf16():  # elsewhere bf16 is fp32
    EXACT.insert(2, "corom bf16")
BASE = "faiss flat"
EFFORTS = {
    "faiss HNSW32": [16, 32, 64, 128],
    "corom HNSW": [16, 32, 40, 48, 64, 128],
    "corom HNSW, float32": [16, 32, 40, 48, 64, 128],
    "corom IVF-PQ": [4, 16, 64],
}
NEAR_BASE = "faiss HNSW32", 32
"""What the others are held against: faiss's defaults at the first effort of 95 % recall."""


def compare_exact(vectors: Path, queries: Path, *, k: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row per engine: seconds, ratio to faiss, agreement with faiss, memory."""
    workers = {name: Worker(Engine, name, vectors, queries) for name in EXACT}
    found = {
        name: worker.ask("search", k)[1] for name, worker in workers.items()
    }  # warms up as well
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    rng = np.random.default_rng(1)
    for number in range(rounds):
        for name in rng.permutation(EXACT).tolist():
            seconds[name].append(workers[name].ask("search", k)[0])
        say(f"round {number + 1}: " + ", ".join(f"{n} {s[-1]:.2f} s" for n, s in seconds.items()))
    rows = []
    for name, worker in workers.items():
        rows.append(
            {
                "engine": name,
                "seconds": seconds[name],
                "queries_per_second": len(found[name]) / min(seconds[name]),
                "times_faiss": spread(seconds[BASE], seconds[name]),
                "times_faiss_best": min(seconds[BASE]) / min(seconds[name]),
                "same_top_10": agreement(found[name][:, :10], found[BASE][:, :10], whole=True),
                "same_top_k": agreement(found[name], found[BASE]),
                "build_seconds": worker.ask("build_seconds"),
                "memory_mb": worker.ask("memory_mb"),
            }
        )
        worker.close()
    return rows


def compare_near(vectors: Path, queries: Path, *, rounds: int) -> list[dict[str, Any]]:
    """Return a row per engine and effort: recall@10, seconds, ratio to faiss, building."""
    exact = Worker(Engine, "corom fp32", vectors, queries)
    _, truth = exact.ask("search", 10)
    exact.close()
    workers = {name: Worker(Engine, name, vectors, queries) for name in EFFORTS}
    pairs = [(name, effort) for name, efforts in EFFORTS.items() for effort in efforts]
    recall = {(n, e): agreement(workers[n].ask("search", 10, e)[1], truth) for n, e in pairs}
    seconds: dict[tuple[str, int], list[float]] = {pair: [] for pair in pairs}
    rng = np.random.default_rng(1)
    for number in range(rounds):
        for place in rng.permutation(len(pairs)).tolist():
            name, effort = pairs[place]
            workers[name].ask("search", 10, effort)  # opens the graph with this effort
            seconds[pairs[place]].append(workers[name].ask("search", 10, effort)[0])
        say(f"round {number + 1}: {NEAR_BASE[0]} {seconds[NEAR_BASE][-1]:.3f} s")
    asked = len(np.load(queries, mmap_mode="r", allow_pickle=False))
    rows = [
        {
            "engine": name,
            "effort": effort,
            "recall_at_10": recall[name, effort],
            "queries_per_second": asked / median(seconds[name, effort]),
            "times_faiss": spread(seconds[NEAR_BASE], seconds[name, effort]),
            "seconds": seconds[name, effort],
            "build_seconds": workers[name].ask("build_seconds"),
            "memory_mb": workers[name].ask("memory_mb"),
        }
        for name, effort in pairs
    ]
    for worker in workers.values():
        worker.close()
    return rows


def agreement(found: NDArray[np.int64], truth: NDArray[np.int64], *, whole: bool = False) -> float:
    """Return the mean share of the true rows that were found; `whole`: of queries with all."""
    shares = [
        len(np.intersect1d(mine, theirs)) / len(theirs)
        for mine, theirs in zip(found, truth, strict=True)
    ]
    return float(np.mean([share == 1 if whole else share for share in shares]))


def options() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = command_line(__doc__, "search.json")
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--corpus", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=cache_folder() / "evaluate")
    parser.add_argument("--only", choices=["exact", "near"], action="append")
    return parser.parse_args()


def exact(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what exact search takes, with what it was measured on."""
    sizes = {"queries": asked.queries, "dim": asked.dim, "passages": asked.passages}
    record = describe()
    record["options"] = {**sizes, "k": asked.k, "rounds": asked.rounds}
    vectors, queries = make_vectors(folder, **sizes)
    record["rows"] = compare_exact(vectors, queries, k=asked.k, rounds=asked.rounds)
    vectors.unlink()
    return record


def near(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what approximate search takes, with what it was measured on."""
    record = describe()
    dataset = open_dataset(asked.corpus)
    record["options"] = {"k": 10, "rounds": asked.rounds}
    record["dataset"] = {"name": dataset.name, "checksum": dataset.checksum()}
    vectors, queries = embedded_vectors(dataset, folder, work=asked.work)
    record["fingerprint"] = Encoder.load().fingerprint
    record["rows"] = compare_near(vectors, queries, rounds=asked.rounds)
    return record


def main() -> None:
    """Measure, print tables, write the JSON."""
    asked = options()
    record = read_json(asked.json) if asked.only and asked.json.exists() else {}
    for part in (exact, near):
        if asked.only and part.__name__ not in asked.only:
            continue
        with TemporaryDirectory() as folder:
            record[part.__name__] = found = part(asked, Path(folder))
        found["machine"]["load_average_after"] = os.getloadavg()[0]
        print(table(found["rows"]))
    write_json(asked.json, record)


if __name__ == "__main__":
    main()
