"""Serving side by side with infinity-emb and with FastAPI around sentence-transformers.

    make bench-serve

A 12-layer, 768-hidden BERT with seeded random weights answers single texts of mixed lengths, half
of them questions and half passages, for 1, 8 and 64 clients at once. All servers are started and
warm; they take turns, in an order shuffled anew each round, and those that wait are stopped. Then
corom alone gets ten times what it can answer: single texts, then 32 texts a request. See
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import BASE, DATA, ROOT, command_line, describe, say, spread
from corom.files import write_json
from encode_setup import sample_texts
from random_models import large_model
from serve_load import Level, closed_loop, open_loop, percentile
from serve_servers import SPECS, Running

CLIENTS = (1, 8, 64)
PEERS = ("plain", "infinity")
TIMES = 10
BULK = 32
# How many texts both servers encode for the comparison of their vectors.
COMPARED = 32


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = command_line(__doc__, "serve.json")
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=6.0, help="each server, each number of clients")
    add("--overload-seconds", type=float, default=15.0)
    add("--layers", type=int, default=12)
    add("--threads", type=int, default=2)
    add("--texts", type=int, default=512)
    add("--seed", type=int, default=0)
    add("--servers", nargs="+", default=["plain", "infinity", "corom-int8"], metavar="NAME")
    add("--peers", type=Path, default=ROOT / ".venv-peers/bin", help="where infinity_emb is")
    add("--data", type=Path, default=DATA)
    add("--base", type=Path, default=BASE, help="the tokenizer's")
    add("--work", type=Path, default=ROOT / ".bench")
    return parser.parse_args()


@dataclass
class Bench:
    """The state of one run."""

    options: argparse.Namespace
    texts: list[str]
    tokens: list[int]
    servers: dict[str, Running] = field(default_factory=dict)
    rounds: list[dict[str, list[Level]]] = field(default_factory=list)

    def requests(self, name: str, *, each: int = 1) -> list[bytes]:
        """Return the same texts in the same order for every server."""
        groups = (self.texts[at : at + each] for at in range(0, len(self.texts), each))
        return [self.servers[name].request(group) for group in groups]


def prepare(options: argparse.Namespace) -> Bench:
    """Return the run with its texts, in a seeded order."""
    (options.work / "logs").mkdir(parents=True, exist_ok=True)
    model = large_model(
        options.work, layers=options.layers, seed=options.seed, tokenizer_from=options.base
    )
    half = options.texts // 2
    found = sample_texts(options.data, model, passages=half, queries=half, seed=options.seed)
    texts = [*found.passages, *found.queries]
    tokens = [*found.passage_tokens, *found.query_tokens]
    order = np.random.default_rng(options.seed).permutation(len(texts)).tolist()
    bench = Bench(options, [texts[i] for i in order], [tokens[i] for i in order])
    for spec in SPECS:
        if spec.name in options.servers:
            log = options.work / "logs" / f"serve-{spec.name}.log"
            bench.servers[spec.name] = server = Running(
                spec, model=model.folder, peers=options.peers, threads=options.threads, log=log
            )
            say(f"{spec.name} answers after {server.wait():.1f} s")
            server.pause()
    return bench


def vectors(server: Running, texts: list[str]) -> Any:  # noqa: ANN401
    """Return the unit vectors a server gives."""
    server.resume()
    data = json.loads(server.ask(texts).body)["data"]
    server.pause()
    found = np.array([item["embedding"] for item in data])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def compare_vectors(bench: Bench) -> dict[str, float]:
    """Return the least cosine of each server's vectors with the reference's."""
    texts = bench.texts[:COMPARED]
    exact = vectors(bench.servers[bench.options.servers[0]], texts)
    return {
        name: float((vectors(server, texts) * exact).sum(axis=1).min())
        for name, server in bench.servers.items()
    }


def run_round(bench: Bench, order: list[str]) -> dict[str, list[Level]]:
    """Return what every server did for each number of clients."""
    done = {}
    for name in order:
        server, requests = bench.servers[name], bench.requests(name)
        server.resume()
        done[name] = [
            asyncio.run(
                closed_loop(server.port, requests, clients=clients, seconds=bench.options.seconds)
            )
            for clients in CLIENTS
        ]
        server.pause()
        say(f"  {name:12}" + "".join(f"{level.per_second:8.1f}/s" for level in done[name]))
    return done


def overload(bench: Bench, name: str, *, each: int) -> dict[str, Any]:
    """Return what became of ten times as many texts as the server answers."""
    levels = [round_[name] for round_ in bench.rounds]
    capacity = median(round_[-1].per_second for round_ in levels)
    normal = 2 * max(_p99(round_[0]) for round_ in levels)
    server = bench.servers[name]
    server.resume()
    before = server.memory_mb()
    found = asyncio.run(
        open_loop(
            server.port,
            bench.requests(name, each=each),
            per_second=TIMES * capacity / each,
            seconds=bench.options.overload_seconds,
            alone=bench.requests(name),
            normal_s=normal,
        )
    )
    result = {
        "texts_a_request": each,
        "requests_per_second": TIMES * capacity / each,
        **found._asdict(),
        "good_texts_per_second": found.good_per_second * each,
        "normal_s": normal,
        "memory_before_mb": before,
        "memory_peak_mb": server.memory_mb("VmHWM"),
        "alive": server.alive,
    }
    server.pause()
    return result


def summary(bench: Bench, name: str) -> list[dict[str, Any]]:
    """Return for each number of clients medians over rounds, and ratios taken within rounds."""
    rows = []
    for at, clients in enumerate(CLIENTS):
        levels = [round_[name][at] for round_ in bench.rounds]
        row: dict[str, Any] = {
            "clients": clients,
            "per_second": median(map(_throughput, levels)),
            "p50_ms": 1e3 * median(percentile(level.latencies, 50) for level in levels),
            "p99_ms": 1e3 * median(map(_p99, levels)),
            "requests": sum(len(level.latencies) for level in levels),
            "starved": sum(level.starved for level in levels),
        }
        for peer in PEERS:
            if peer in bench.servers and name not in PEERS:
                others = [round_[peer][at] for round_ in bench.rounds]
                for what, of in (("throughput", _throughput), ("p99", _p99)):
                    row[f"{what}_over_{peer}"] = spread(map(of, levels), map(of, others))
        rows.append(row)
    return rows


def _throughput(level: Level) -> float:
    return level.per_second


def _p99(level: Level) -> float:
    return percentile(level.latencies, 99)


def record(bench: Bench, cosines: dict[str, float], overloads: list[Any]) -> dict[str, Any]:
    """Return everything worth keeping."""
    chosen = ("rounds", "seconds", "overload_seconds", "layers", "threads", "texts", "seed")
    tokens = bench.tokens
    return {
        **describe(threads=bench.options.threads),
        "peers": peer_versions(bench.options.peers),
        "settings": {name: getattr(bench.options, name) for name in chosen},
        "tokens": {f"p{p}": float(np.percentile(tokens, p)) for p in (5, 50, 95)},
        "least_cosine": cosines,
        "servers": {name: summary(bench, name) for name in bench.servers},
        "memory_mb": {name: server.memory_mb("VmHWM") for name, server in bench.servers.items()},
        "overload": overloads,
        "rounds": [
            {
                name: [{"clients": x.clients, "per_second": x.per_second} for x in levels]
                for name, levels in round_.items()
            }
            for round_ in bench.rounds
        ],
    }


def peer_versions(peers: Path) -> dict[str, str]:
    """Return the versions in the peers' environment."""
    names = ("infinity_emb", "sentence_transformers", "transformers", "torch", "fastapi")
    folders = (peers.parent / "lib").glob("python*/site-packages/*.dist-info")
    found = dict(folder.name.removesuffix(".dist-info").split("-", 1) for folder in folders)
    return {name: found.get(name, "absent") for name in names}


def main() -> None:
    """Run the benchmark."""
    options = parse()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection is a file
    os.environ["COROM_CACHE"] = str((options.work / "cache").resolve())
    options.work, options.peers = options.work.resolve(), options.peers.absolute()
    bench = prepare(options)
    cosines = compare_vectors(bench)
    rng = np.random.default_rng(options.seed)
    for number in range(options.rounds):
        say(f"round {number + 1}, load average {os.getloadavg()[0]:.1f}; clients {CLIENTS}")
        bench.rounds.append(run_round(bench, rng.permutation(list(bench.servers)).tolist()))
    overloads: list[Any] = []
    for each in (1, BULK):
        write_json(options.json, record(bench, cosines, overloads))  # what is measured is kept
        overloads.append(overload(bench, "corom-int8", each=each))
    found = record(bench, cosines, overloads)
    write_json(options.json, found)
    print(json.dumps({key: found[key] for key in ("servers", "overload", "memory_mb")}, indent=1))


if __name__ == "__main__":
    main()
