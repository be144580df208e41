"""Searching side by side with faiss, and BM25 side by side with bm25s.

    make bench-search            (or, in an environment with corom, faiss, tantivy and bm25s:)
    python benchmarks/bench_search.py --passages 1000000

Exact: the best `--k` of 1,000 queries over so many clustered vectors, seeded, of 768 numbers.
Every engine lives in a process of its own; they take turns in an order shuffled anew each round,
and a ratio to faiss is taken within a round. Near: HNSW and IVF-PQ over the vectors that the
embedded model gives `--corpus`, asked with all of its queries; recall@10 against exact search.
Words: BM25 over the texts of `--corpus`, the queries of each of its splits. See docs/indexes.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corom import Encoder
from corom.environment import cache_folder
from corom.evaluation import Dense
from corom.files import write_json
from corom.readers import Dataset, open_dataset
from encode_machine import describe
from search_engines import Worker
from search_words import WORDS

ROOT = Path(__file__).parents[1]
EXACT = ["faiss flat", "corom fp32", "corom bf16", "corom int8", "corom binary"]
EFFORTS = {
    "faiss HNSW32": [16, 32, 64, 128, 256],
    "corom HNSW": [16, 32, 64, 128, 256],
    "corom IVF-PQ": [4, 16, 64],
}
BASE = "faiss flat"


def make_vectors(folder: Path, *, passages: int, queries: int, dim: int) -> tuple[Path, Path]:
    """Write seeded unit vectors around 1,000 centres, as far from them as centres are long."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1000, dim), dtype=np.float32)

    def some(n: int) -> NDArray[np.float32]:
        found = centres[rng.integers(0, len(centres), n)]
        found += rng.standard_normal((n, dim), dtype=np.float32)
        unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    vectors = folder / "vectors.npy"
    file = np.lib.format.open_memmap(vectors, "w+", np.float32, (passages, dim))
    for start in range(0, passages, 20_000):
        file[start : start + 20_000] = some(min(20_000, passages - start))
    file.flush()
    np.save(folder / "queries.npy", some(queries))
    return vectors, folder / "queries.npy"


def compare_exact(vectors: Path, queries: Path, *, k: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row per engine: seconds, ratio to faiss, agreement with faiss, memory."""
    workers = {name: Worker(name, vectors, queries) for name in EXACT}
    found = {name: worker.search(k)[1] for name, worker in workers.items()}  # warms up as well
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    rng = np.random.default_rng(1)
    for number in range(rounds):
        for name in rng.permutation(EXACT).tolist():
            seconds[name].append(workers[name].search(k)[0])
        say(f"round {number + 1}: " + ", ".join(f"{n} {s[-1]:.2f} s" for n, s in seconds.items()))
    rows = []
    for name, worker in workers.items():
        ratios = [base / own for base, own in zip(seconds[BASE], seconds[name], strict=True)]
        rows.append(
            {
                "engine": name,
                "seconds": seconds[name],
                "queries_per_second": len(found[name]) / min(seconds[name]),
                "times_faiss": {
                    "median": median(ratios),
                    "least": min(ratios),
                    "most": max(ratios),
                },
                "times_faiss_best": min(seconds[BASE]) / min(seconds[name]),
                "same_top_10": agreement(found[name][:, :10], found[BASE][:, :10], whole=True),
                "same_top_k": agreement(found[name], found[BASE]),
                "build_seconds": worker.build_seconds,
                "memory_mb": worker.memory_mb(),
            }
        )
        worker.close()
    return rows


def compare_near(vectors: Path, queries: Path, *, rounds: int) -> list[dict[str, Any]]:
    """Return a row per engine and effort: recall@10, queries per second, building."""
    worker = Worker("corom fp32", vectors, queries)
    _, truth = worker.search(10)
    worker.close()
    rows = []
    for name, efforts in EFFORTS.items():
        worker = Worker(name, vectors, queries)
        say(f"{name} was built in {worker.build_seconds:.0f} s")
        for effort in efforts:
            _, found = worker.search(10, effort=effort)
            best = min(worker.search(10, effort=effort)[0] for _ in range(rounds))
            rows.append(
                {
                    "engine": name,
                    "effort": effort,
                    "recall_at_10": agreement(found, truth),
                    "queries_per_second": len(found) / best,
                    "build_seconds": worker.build_seconds,
                    "memory_mb": worker.memory_mb(),
                }
            )
        worker.close()
    return rows


def agreement(found: NDArray[np.int64], truth: NDArray[np.int64], *, whole: bool = False) -> float:
    """Return the mean share of the true rows that were found; `whole`: of queries with all."""
    shares = [
        len(np.intersect1d(mine, theirs)) / len(theirs)
        for mine, theirs in zip(found, truth, strict=True)
    ]
    return float(np.mean([share == 1 if whole else share for share in shares]))


def real_vectors(dataset: Dataset, folder: Path, *, work: Path) -> tuple[Path, Path]:
    """Write the embedded model's vectors of passages and queries; those kept in `work` are used."""
    dense = Dense(Encoder.load(), name="corom-medical", work=work)
    passages = (passage.content for passage in dataset.passages())
    queries = [query.text for split in dataset.splits for query in dataset.queries(split)]
    np.save(folder / "vectors.npy", np.concatenate(list(dense.vectors(passages, side="passage"))))
    np.save(folder / "queries.npy", np.concatenate(list(dense.vectors(queries, side="query"))))
    return folder / "vectors.npy", folder / "queries.npy"


def measure_words(dataset: Dataset, folder: Path, *, k: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row per engine: seconds to build, and to search the queries of each split."""
    rows, passages = [], list(dataset.passages())
    for name, build in WORDS.items():
        own = folder / name.replace(", ", "-")
        begun = time.perf_counter()
        search = build(passages, own)
        row = {"engine": name, "passages": len(passages), "depth": k}
        row["build_seconds"] = time.perf_counter() - begun
        row["disk_mb"] = sum(f.stat().st_size for f in own.rglob("*") if f.is_file()) / 2**20
        for split in dataset.splits:
            texts, times = [query.text for query in dataset.queries(split)], []
            for _ in range(rounds):
                begun = time.perf_counter()
                search(texts, k)
                times.append(time.perf_counter() - begun)
            row[f"{split} queries"], row[f"{split} seconds"] = len(texts), times
        rows.append(row)
        say(f"{name}: built in {row['build_seconds']:.1f} s")
        rmtree(own)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table, numbers to three digits; lists give their least."""
    cells = [{key: _cell(value) for key, value in _flat(row).items()} for row in rows]
    head = list(cells[0]) if cells else []
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in cells])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in row.items():
        if isinstance(value, dict):
            found |= {f"{key} {name}": inner for name, inner in _flat(value).items()}
        else:
            found[key] = value
    return found


def _cell(value: Any) -> str:  # noqa: ANN401 - any cell
    value = min(value) if isinstance(value, list) else value
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Print to standard error, at once."""
    print(text, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    corpus = ROOT.parent / "shared/data/eval/open-medical"
    parser.add_argument("--corpus", type=Path, default=corpus)
    parser.add_argument("--json", type=Path, default=ROOT / "results/search.json")
    parser.add_argument("--work", type=Path, default=cache_folder() / "evaluate")
    parser.add_argument("--only", choices=["exact", "near", "words"], action="append")
    return parser.parse_args()


def main() -> None:
    """Measure, print tables, write the JSON."""
    asked = options()
    parts = asked.only or ["exact", "near", "words"]
    record: dict[str, Any] = describe(threads=os.cpu_count() or 1)
    sizes = {"queries": asked.queries, "dim": asked.dim, "passages": asked.passages}
    record["options"] = {**sizes, "k": asked.k, "rounds": asked.rounds}
    with TemporaryDirectory() as temporary:
        here = Path(temporary)
        if "exact" in parts:
            vectors, queries = make_vectors(here, **sizes)
            record["exact"] = compare_exact(vectors, queries, k=asked.k, rounds=asked.rounds)
            vectors.unlink()
            print(table(record["exact"]))
        if asked.corpus.is_dir() and {"near", "words"} & set(parts):
            dataset = open_dataset(asked.corpus)
            record["dataset"] = {"name": dataset.name, "checksum": dataset.checksum()}
            if "near" in parts:
                vectors, queries = real_vectors(dataset, here, work=asked.work)
                record["fingerprint"] = Encoder.load().fingerprint
                record["near"] = compare_near(vectors, queries, rounds=asked.rounds)
                vectors.unlink()
                print(table(record["near"]))
            if "words" in parts:
                record["words"] = measure_words(dataset, here, k=asked.k, rounds=asked.rounds)
                print(table(record["words"]))
    record["machine"]["load_average_after"] = os.getloadavg()[0]
    write_json(asked.json, record)


if __name__ == "__main__":
    main()
