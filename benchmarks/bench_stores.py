r"""The same evaluation through exact search, faiss HNSW, Milvus Lite, Milvus and pgvector.

    make bench-stores            (or, in an environment that `make test-scale` made:)
    python benchmarks/bench_stores.py

The vectors that the embedded model gives `--corpus` (kept in `--work`, encoded once) are loaded
into every engine with the options that `corom index --to` has, and all queries of the data set are
asked for their best 10. The servers start here from their PyPI packages and stay up for the whole
run; the queries per second of all engines are taken in turns, in an order shuffled each round.
Memory: of the process that searches, or of the server's processes: when they are empty, and what
they grow by; after all queries were asked, shared pages counted once (PSS). Disk: what grows.

    python benchmarks/bench_stores.py --passages 1000000 --repeat --queries 100 \
        --only "corom exact" --only "Milvus 2.3.5 exact" … --json results/stores-million.json
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import numpy as np

from bench import DATA, ROOT, command_line, describe, say, spread, table
from corom import Encoder
from corom.corpus import CorpusChecksum
from corom.environment import cache_folder
from corom.files import write_json
from corom.index import IndexSpec
from corom.readers import Dataset, open_dataset
from corom.records import Hit
from corom.vectors import Vectors
from store_corpus import Loaded, fewer_queries, larger, smaller
from store_engines import Corpus, Engine, Running, Session, engines, keep_level
from vector_files import embedded_vectors
from worker import Worker

sys.path.append(str(ROOT / "tests"))
from stores.servers import LEASE, Database, Server

BASE = "corom exact"
_POSTGRES = {"maintenance_work_mem": "1GB"}
"""What a graph needs to be built in memory; 64 MB is what PostgreSQL comes with."""
_NEAR = 1e-6
"""Scores nearer than this are equal but for the order in which a sum was added up in fp32."""


def differences(
    found: list[list[Hit]], exact: list[list[Hit]], scores: list[dict[str, float]]
) -> dict[str, Any]:
    """Return how rankings differ from those of exact search, and why.

    `scores`: by query, of every passage that occurs, in float64. A list that differs is `near_ties`
    when each rank holds a passage whose score is that of exact search's there, within 1e-6; the
    rest miss a passage.
    """
    pairs = list(zip(found, exact, strict=True))
    same = [[hit.id for hit in mine] == [hit.id for hit in true] for mine, true in pairs]
    near = missing = shared = 0
    off = 0.0
    for (mine, true), known, equal in zip(pairs, scores, same, strict=True):
        ours, theirs = {h.id: h.score for h in mine}, {h.id: h.score for h in true}
        shared += len(ours.keys() & theirs.keys())
        off = max([off, *(abs(score - known[id_]) for id_, score in ours.items())])
        if equal:
            continue
        tied = len(mine) == len(true) and all(
            abs(known[a.id] - known[b.id]) < _NEAR for a, b in zip(mine, true, strict=True)
        )
        near, missing = near + tied, missing + (not tied)
    return {
        "recall_at_10": shared / sum(map(len, exact)),
        "queries_the_same": sum(same),
        "queries_with_near_ties_swapped": near,
        "queries_that_miss_a_passage": missing,
        "most_a_score_is_off": off,
    }


def true_scores(
    runs: dict[str, list[list[Hit]]], rows: dict[str, int], vectors: Vectors, queries: Vectors
) -> list[dict[str, float]]:
    """Return, by query, the score of every passage that any engine found, in float64."""
    found = []
    for place, query in enumerate(queries.astype(np.float64)):
        ids = sorted({hit.id for run in runs.values() for hit in run[place]})
        own = vectors[[rows[id_] for id_ in ids]].astype(np.float64) @ query
        found.append(dict(zip(ids, own.tolist(), strict=True)))
    return found


def measure(
    workers: list[tuple[Engine, Worker]], *, rounds: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a row per engine and what each found."""
    rows, hits = [], {}
    idle: dict[int, float] = {}
    for engine, worker in workers:
        begun = time.perf_counter()
        memory, disk = worker.ask("memory"), worker.ask("disk")
        empty = idle.setdefault(engine.server, memory) if engine.server else memory
        row = {"engine": engine.name, **worker.ask("build")}
        answer = worker.ask("evaluate")
        hits[engine.name] = answer["hits"]
        row |= {
            "memory_mb": empty + worker.ask("memory") - memory,
            "memory_empty_mb": empty,
            "disk_mb": worker.ask("disk") - disk,
        }
        rows.append({**row, **answer["figures"]})
        say(f"{row['engine']}: {row['build_seconds']:.1f} s, {time.perf_counter() - begun:.0f} s")
    speeds: dict[str, list[float]] = {row["engine"]: [] for row in rows}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for place in rng.permutation(len(workers)):
            engine, worker = workers[place]
            speeds[engine.name].append(worker.ask("time"))
    for row in rows:
        own = speeds[row["engine"]]
        times = spread(own, speeds[BASE])["median"]
        row |= {"queries_per_second": max(own), "times_exact": times, "rounds": own}
    return rows, hits


def compare(
    dataset: Dataset, servers: dict[str, Running], here: Path, asked: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row per engine."""
    given = Loaded(dataset, *embedded_vectors(dataset, here, work=asked.work))
    if asked.queries:
        given = fewer_queries(given, here / "asked", queries=asked.queries)
    fitted = larger if asked.repeat else smaller
    dataset, vectors, queries = fitted(given, here / "data", passages=asked.passages)
    encoder = Encoder.load()
    source = CorpusChecksum(dataset.passages()).hexdigest()
    spec = IndexSpec.for_encoder(encoder, source=source)
    corpus = Corpus(dataset.path, vectors, queries, asked.some)
    chosen = [e for e in engines(here, spec, servers) if not asked.only or e.name in asked.only]
    workers = [(engine, Worker(Session, engine, corpus)) for engine in chosen]
    rows, hits = measure(workers, rounds=asked.rounds)
    passages = sum(1 for _ in dataset.passages())
    for _, worker in workers:
        worker.close()
    places = {passage.id: row for row, passage in enumerate(dataset.passages())}
    numbers = np.load(vectors, mmap_mode="r", allow_pickle=False)
    scores = true_scores(hits, places, numbers, np.load(queries, allow_pickle=False))
    for row in rows:
        row |= {"passages": passages}
        row |= differences(hits[row["engine"]], hits[BASE], scores)
    return rows


def options() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = command_line(__doc__, "stores.json")
    parser.add_argument("--passages", type=int, default=1_000_000, help="at most so many")
    parser.add_argument(
        "--repeat", action="store_true", help="exactly so many: the corpus again, vectors moved"
    )
    parser.add_argument("--queries", type=int, default=0, help="of each split; 0: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--some", type=int, default=100, help="queries per timing")
    parser.add_argument("--corpus", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=cache_folder() / "evaluate")
    parser.add_argument("--only", action="append", help="an engine, by its name; with corom exact")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, write the JSON."""
    asked, record = options(), describe()
    dataset = open_dataset(asked.corpus)
    record["dataset"] = {"name": dataset.name, "checksum": dataset.checksum()}
    record["fingerprint"], record["dim"] = Encoder.load().fingerprint, Encoder.load().dim
    with TemporaryDirectory() as temporary:
        here = Path(temporary)
        milvus, database = Server(here / "milvus"), Database(here / "postgres")
        servers = {
            "Milvus 2.3.5": Running(milvus.uri("{name}"), str(here / "milvus"), milvus.process),
            "pgvector": Running(database.uri("{name}"), str(here / "postgres"), database.process),
        }
        database.set(_POSTGRES)
        record["servers"] = {"pgvector": _POSTGRES, "Milvus 2.3.5": {"session.ttl": LEASE}}
        priorities: set[int] = set()
        Thread(target=keep_level, args=(milvus.process, priorities), daemon=True).start()
        try:
            record["rows"] = compare(dataset, servers, here, asked)
        finally:
            milvus.kill()
            database.stop()
    record["milvus_priorities"] = sorted(priorities)
    write_json(asked.json, record)
    print(table([{k: v for k, v in row.items() if k != "rounds"} for row in record["rows"]]))


if __name__ == "__main__":
    main()
