"""BM25 side by side: corom's index of words (tantivy) and bm25s.

    make bench-bm25              (or, in an environment with corom, tantivy, bm25s and numba:)
    python benchmarks/bench_bm25.py --rounds 3

Each engine builds its index of `--data` in a process of its own (reading and cutting the texts
included), starts from nothing (`--starts` times: imports, opening, one query), and then answers the
queries of each split: all in one call to each of `--depth`, and 200 of them one by one to depth 10.
The engines take turns, in an order shuffled anew each round; ratios are taken within a round.
See docs/indexes.md for the result, bm25_engines.py for what is run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import DATA, command_line, describe, say, spread
from bm25_engines import ENGINES
from corom.files import write_json
from corom.readers import open_dataset

SCRIPT = Path(__file__).with_name("bm25_engines.py")
BASE = "corom"
ALONE = 200


class Server:
    """An engine that answers searches, in a process of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        begun = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "serve", name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.ready = self._read()
        self.start_seconds = time.perf_counter() - begun

    def ask(self, texts: list[str], k: int, *, alone: bool = False) -> dict[str, Any]:
        """Return the seconds that searching took, and the memory afterwards."""
        asked = json.dumps({"texts": texts, "k": k, "alone": alone})
        self._process.stdin.write(asked + "\n")  # type: ignore[union-attr]  # it is a pipe
        self._process.stdin.flush()  # type: ignore[union-attr]
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]  # it is a pipe
        if not line:
            self.close()
            raise RuntimeError(f"the engine ended with {self._process.returncode}")
        found: dict[str, Any] = json.loads(line)
        return found


def build(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Return seconds and memory of building, and the bytes on disk."""
    command = [sys.executable, str(SCRIPT), "build", name, str(data), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {**json.loads(done.stdout), "disk_mb": round(size / 2**20, 1)}


def starts(name: str, folder: Path, times: int) -> list[float]:
    """Return the seconds from starting a process to its first answer."""
    seconds = []
    for _ in range(times):
        server = Server(name, folder)
        seconds.append(server.start_seconds)
        server.close()
    return seconds


def take_turns(
    servers: dict[str, Server], queries: dict[str, list[str]], *, depths: list[int], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Return seconds by engine and job, one for each round; `alone` jobs give their median."""
    jobs = [(split, k) for split in queries for k in depths]
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in servers}
    rng = random.Random(0)  # noqa: S311
    for number in range(rounds):
        for split, k in jobs:
            for name in rng.sample(list(servers), len(servers)):
                took = servers[name].ask(queries[split], k)["seconds"]
                seconds[name].setdefault(f"{split} to {k}", []).append(took)
        for split in queries:
            for name in rng.sample(list(servers), len(servers)):
                took = servers[name].ask(queries[split][:ALONE], 10, alone=True)["seconds"]
                seconds[name].setdefault(f"{split} one by one", []).append(median(took))
        say(
            f"round {number + 1}: "
            + str({n: [t[-1] for t in s.values()] for n, s in seconds.items()})
        )
    return seconds


def measured(asked: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Return a row per engine."""
    dataset = open_dataset(asked.data)
    queries = {s: [query.text for query in dataset.queries(s)] for s in dataset.splits}
    rows: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(ENGINES):
        own = folder / str(place)
        rows[name] = {"engine": name, "build": build(name, asked.data, own)}
        rows[name]["start_seconds"] = starts(name, own, asked.starts)
        say(f"{name}: {rows[name]}")
    servers = {name: Server(name, folder / str(place)) for place, name in enumerate(ENGINES)}
    for server in servers.values():  # warms up: compiles, maps files
        for texts in queries.values():
            server.ask(texts, max(asked.depth))
    seconds = take_turns(servers, queries, depths=asked.depth, rounds=asked.rounds)
    for name, server in servers.items():
        last = server.ask(next(iter(queries.values())), max(asked.depth))
        rows[name]["memory_mb"] = {
            "ready": server.ready["memory_mb"],
            "searched": last["memory_mb"],
        }
        rows[name]["search_seconds"] = seconds[name]
        rows[name]["times_corom"] = {
            job: spread(own, seconds[BASE][job]) for job, own in seconds[name].items()
        }
        server.close()
    return list(rows.values())


def options() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = command_line(__doc__, "bm25.json")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--depth", type=int, action="append", help="default: 10, 100 and 1000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=3)
    found = parser.parse_args()
    found.depth = found.depth or [10, 100, 1000]
    return found


def main() -> None:
    """Measure, and write the JSON."""
    asked = options()
    record = describe()
    dataset = open_dataset(asked.data)
    record["dataset"] = {"name": dataset.name, "checksum": dataset.checksum()}
    record["options"] = {"depth": asked.depth, "rounds": asked.rounds, "starts": asked.starts}
    with TemporaryDirectory() as folder:
        record["rows"] = measured(asked, Path(folder))
    record["machine"]["load_average_after"] = os.getloadavg()[0]
    write_json(asked.json, record)


if __name__ == "__main__":
    main()
