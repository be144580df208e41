"""What this chip's matrix units give at best, measured: the ceiling of every encoder."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from corom.engines.quiet_openvino import op, ov

ROWS, WIDTH, CHAIN = 2048, 768, 16
OPERATIONS = CHAIN * 2 * ROWS * WIDTH * WIDTH
_HINTS = {"int8": "bf16", "bf16": "bf16", "fp32": "f32"}


class Peak:
    """A chain of matrix products 2048 x 768 x 768 in each precision, and nothing else.

    In int8 as an int8 model has it: weights int8 with a scale per output, the input of each
    product quantised to 256 levels.
    """

    def __init__(self, *, threads: int) -> None:
        rng = np.random.default_rng(0)
        self._input = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
        weights = rng.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
        precisions = ["int8", "fp32"]
        if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            precisions.insert(1, "bf16")
        self._requests = {name: _compile(name, weights, threads) for name in precisions}
        self.measure()

    def measure(self, *, seconds: float = 0.4) -> dict[str, float]:
        """Return operations per second by precision, of the fastest run within `seconds` each."""
        return {name: OPERATIONS / self._fastest(name, seconds) for name in self._requests}

    def _fastest(self, precision: str, seconds: float) -> float:
        request, best, spent, runs = self._requests[precision], float("inf"), 0.0, 0
        while spent < seconds or runs < 3:
            start = time.perf_counter()
            request.infer([self._input], share_inputs=True)
            took = time.perf_counter() - start
            best, spent, runs = min(best, took), spent + took, runs + 1
        return best


def _compile(precision: str, weights: np.ndarray[Any, Any], threads: int) -> Any:  # noqa: ANN401
    source = op.parameter(ov.PartialShape([ROWS, WIDTH]), ov.Type.f32)
    low, high = (op.constant(np.float32(end)) for end in (-1, 1))
    scale = np.full((WIDTH, 1), 1e-3, np.float32)
    rows = source
    for _ in range(CHAIN):
        if precision == "int8":
            rows = op.fake_quantize(rows, low, high, low, high, 256)
            matrix = op.multiply(op.convert(op.constant(weights), "f32"), op.constant(scale))
        else:
            matrix = op.constant(weights * (scale / 2))  # keeps the numbers small
        rows = op.matmul(rows, matrix, False, True)
    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    model = ov.Model([op.result(rows)], [source], f"peak_{precision}")
    return ov.Core().compile_model(model, "CPU", options).create_infer_request()
