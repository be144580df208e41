"""Where the time of the int8 CPU engine goes: what bounds it on this chip.

    python benchmarks/encode_bounds.py

The 12-layer model of the encode benchmark. Every time is the fastest of many runs, so that other
work on the machine counts as little as it can. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import BASE, ROOT, command_line, describe
from corom.encoder import Encoder
from corom.engines.graph import GraphBuilder
from corom.engines.loading import cached_int8
from corom.engines.openvino_engine import BATCH_TOKENS
from corom.engines.processor import has_bf16
from corom.engines.quiet_openvino import ov
from corom.files import write_json
from corom.models.checkpoint import Checkpoint
from corom.models.int8 import Int8Weights, read_int8
from corom.models.weights import INT8
from encode_peak import Peak
from encode_report import needed_operations
from random_models import large_model

SINGLE = (8, 16, 24, 32, 64, 128)
LENGTH = 128


def parser(doc: str, result: str) -> argparse.ArgumentParser:
    """Return what the command line takes."""
    made = command_line(doc, result)
    add = made.add_argument
    add("--runs", type=int, default=12, help="of which the fastest counts")
    add("--layers", type=int, default=12)
    add("--seed", type=int, default=0)
    add("--base", type=Path, default=BASE)
    add("--work", type=Path, default=ROOT / ".bench")
    return made


def compiled(model: ov.Model, *, threads: int, streams: int = 1, profile: bool = False) -> Any:  # noqa: ANN401
    """Return the graph as the engine compiles it on this chip."""
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if has_bf16() else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        "PERF_COUNT": profile,
    }
    return ov.Core().compile_model(model, "CPU", options)


def texts(count: int, length: int) -> list[Any]:
    """Return the inputs for texts of random tokens, all of one length."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (count, length)).astype(np.int32)
    return [ids, np.full(count, length, np.int32)]


def fastest(call: Callable[[], object], runs: int) -> float:
    """Return the seconds of the fastest run."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def kind(node: Any) -> str:  # noqa: ANN401
    """Return what a node of the profile does."""
    if node.node_type == "FullyConnected":
        return "int8 products" if node.exec_type.endswith("I8") else "float products"
    return {"Subgraph": "attention", "MVN": "norms", "Transpose": "transposes"}.get(
        node.node_type, "the rest"
    )


def by_kind(model: ov.Model, inputs: list[Any], runs: int) -> dict[str, float]:
    """Return the milliseconds of each kind of node on one thread, fastest by node."""
    request = compiled(model, threads=1, profile=True).create_infer_request()
    best: dict[str, tuple[str, float]] = {}
    for _ in range(runs):
        request.infer(inputs)
        for node in request.profiling_info:
            took = 1e3 * node.real_time.total_seconds()
            before = best.get(node.node_name, ("", took))[1]
            best[node.node_name] = (kind(node), min(before, took))
    sums: dict[str, float] = defaultdict(float)
    for what, took in best.values():
        sums[what] += took
    return dict(sums)


def one_text(model: ov.Model, runs: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of single texts on two threads, by length.

    `again`: after another of its length; `changed`: after one of another length.
    """
    request = compiled(model, threads=2).create_infer_request()
    inputs = {length: texts(1, length) for length in SINGLE}
    found: dict[str, dict[str, float]] = {"again": {}, "changed": {}}
    for _ in range(2 * runs):
        for length in SINGLE:
            for case in ("changed", "again"):
                took = 1e3 * fastest(lambda length=length: request.infer(inputs[length]), 1)
                seen = found[case].get(str(length), took)
                found[case][str(length)] = min(seen, took)
    return found


def tokens_per_second(model: ov.Model, runs: int) -> dict[str, float]:
    """Return the throughput of two threads that share a batch, and of two with one each."""
    count = BATCH_TOKENS // LENGTH
    shared = compiled(model, threads=2).create_infer_request()
    queue = ov.AsyncInferQueue(compiled(model, threads=2, streams=2), 2)

    def apart() -> None:
        for _ in range(4):
            queue.start_async(texts(count, LENGTH))
        queue.wait_all()

    together = texts(2 * count, LENGTH)
    found = {"shared": float("inf"), "apart": float("inf")}
    for _ in range(runs):  # by turns
        found["shared"] = min(found["shared"], fastest(lambda: shared.infer(together), 2) * 2)
        found["apart"] = min(found["apart"], fastest(apart, 1))
    return {name: 4 * BATCH_TOKENS / seconds for name, seconds in found.items()}


def model_of(options: argparse.Namespace) -> tuple[Checkpoint, Int8Weights]:
    """Return the random model and its int8 form, made unless they are in the work folder."""
    os.environ["COROM_CACHE"] = str((options.work / "cache").resolve())
    checkpoint = large_model(
        options.work.resolve(),
        layers=options.layers,
        seed=options.seed,
        tokenizer_from=options.base,
    )
    Encoder(checkpoint, precision="int8")  # makes the form unless it is in the cache
    return checkpoint, read_int8(cached_int8(checkpoint) / INT8, shape=checkpoint.shape)


def main() -> None:
    """Measure and write."""
    options = parser(__doc__, "encode-bounds.json").parse_args()
    checkpoint, int8 = model_of(options)
    model = GraphBuilder(checkpoint.shape, {}, int8=int8).build("cls")
    batch = texts(BATCH_TOKENS // LENGTH, LENGTH)
    needed = needed_operations(checkpoint.shape, batch[1])
    peak = Peak(threads=1).measure()
    found = {
        **describe(threads=2),
        "batch": {"texts": len(batch[1]), "tokens_each": LENGTH, "gigaoperations": needed / 1e9},
        "peak_gigaoperations_per_second_one_thread": {k: v / 1e9 for k, v in peak.items()},
        "batch_ms_at_the_int8_peak": 1e3 * needed / peak["int8"],
        "batch_ms_one_thread": by_kind(model, batch, options.runs),
        "one_text_ms": one_text(model, options.runs),
        "tokens_per_second": tokens_per_second(model, options.runs),
    }
    write_json(options.json, found)
    print(
        json.dumps({k: v for k, v in found.items() if k not in ("machine", "versions")}, indent=1)
    )


if __name__ == "__main__":
    main()
