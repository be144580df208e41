"""What corom's own int8 kernels reach on this chip, on one core, and where their time goes.

    python benchmarks/encode_kernels.py

The 12-layer model of the encode benchmark. Every time is the fastest of many runs. With `perf` on
the path (Debian's linux-perf) also the share of each kernel. See docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from ctypes import byref, c_size_t, c_void_p
from typing import Any

import numpy as np

from bench import describe
from corom.engines.native_engine import BATCH_TOKENS, NativeEngine, _library
from corom.engines.native_model import _Linear, aligned, in_panels, space
from corom.files import write_json
from corom.tokens import batches
from encode_bounds import LENGTH, SINGLE, fastest, model_of, parser
from encode_peak import ROWS, WIDTH, Peak
from encode_report import needed_operations

STEPS = {
    "multiply": "queries, keys and values",
    "multiply_and_add": "attention's and the feed-forward output",
    "multiply_and_activate": "the feed-forward input, GELU in it",
    "attend": "attention",
    "round_queries": "attention",
    "round_keys": "attention",
    "round_values": "attention",
    "normalise": "norms",
    "multiply_halves": "the last layer",
    "mix_rows": "the last layer",
    "run_last_layer": "the last layer",
}


def product_rate(runs: int) -> float:
    """Return the operations a second of one product as large as those of the peak."""
    rng = np.random.default_rng(0)
    weight = in_panels(rng.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8))
    ones = aligned(np.ones(WIDTH, np.float32))
    linear = _Linear(weight.ctypes.data, ones.ctypes.data, ones.ctypes.data)
    levels = space((ROWS + 3) * WIDTH)
    levels[:] = rng.integers(0, 256, len(levels))
    out = space(4 * (ROWS + 3) * WIDTH)
    sizes = map(c_size_t, (ROWS, WIDTH, WIDTH))
    arguments = (byref(linear), c_void_p(levels.ctypes.data), *sizes, c_void_p(out.ctypes.data))
    seconds = fastest(lambda: _library().corom_multiply(*arguments), 10 * runs)
    return 2 * ROWS * WIDTH * WIDTH / seconds


def computed(engine: NativeEngine, count: int, length: int) -> Callable[[], None]:
    """Return a call that computes `count` texts of one length, of random tokens."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (count, length)).astype(np.int32)
    work = list(batches(list(ids), budget=BATCH_TOKENS, packed=True))
    return lambda: engine.run(work, lambda *_: None)


def shares() -> dict[str, float] | None:
    """Return the share of each step in the time of full batches, by perf; None without it."""
    if (perf := shutil.which("perf")) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        again = [sys.executable, __file__, *sys.argv[1:], "--out", f"{folder}/out.json"]
        environment = {**os.environ, "COROM_LOOP": "1"}
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([perf, "record", "-o", data, *again], env=environment, **quiet)
        report = [perf, "report", "-i", data, "--stdio", "--dsos", "encoder.so", "-F", "period,sym"]
        text = subprocess.run(report, check=True, capture_output=True, text=True).stdout
    spent: dict[str, float] = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) >= 3 and parts[0].isdigit():
            step = STEPS.get(parts[-1].partition(".")[0], "the rest")
            spent[step] = spent.get(step, 0) + int(parts[0])
    return {step: round(value / sum(spent.values()), 4) for step, value in spent.items()}


def main() -> None:
    """Measure and write."""
    options = parser(__doc__, "encode-kernels.json").parse_args()
    checkpoint, int8 = model_of(options)
    one = NativeEngine(checkpoint.shape, int8, pooling="cls", threads=1)
    count = BATCH_TOKENS // LENGTH
    full = computed(one, count, LENGTH)
    if "COROM_LOOP" in os.environ:  # under perf
        for _ in range(8 * options.runs):
            full()
        return
    two = NativeEngine(checkpoint.shape, int8, pooling="cls", threads=2)
    needed = needed_operations(checkpoint.shape, [LENGTH] * count)
    seconds, peak = fastest(full, 4 * options.runs), Peak(threads=1).measure(seconds=2)
    found: dict[str, Any] = {
        **describe(threads=2),
        "batch": {"texts": count, "tokens_each": LENGTH, "gigaoperations": needed / 1e9},
        "gigaoperations_per_second_one_thread": {
            "openvino's products (the peak)": peak["int8"] / 1e9,
            "corom's products": product_rate(options.runs) / 1e9,
            "a whole batch": needed / seconds / 1e9,
        },
        "batch_ms_one_thread": 1e3 * seconds,
        "one_text_ms_two_threads": {
            str(length): 1e3 * fastest(computed(two, 1, length), 4 * options.runs)
            for length in SINGLE
        },
        "shares_one_thread": shares(),
    }
    write_json(options.json, found)
    hidden = ("machine", "versions")
    print(json.dumps({k: v for k, v in found.items() if k not in hidden}, indent=1))


if __name__ == "__main__":
    main()
