"""From a checkpoint and some text to its int8 form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from corom.engines.graph import GraphBuilder
from corom.engines.quantisation import input_range, quantise_linear, quantise_rows
from corom.models.config import Pooling, Shape
from corom.models.int8 import WORDS, InputRange, Int8Weights, Linear, consumers
from corom.models.weights import Weights
from corom.tokens import Batch

Floats = NDArray[np.float32]


class Moments(NamedTuple):
    """Statistics of one input on its grid."""

    products: Floats
    """(in, in): the mean of x x'."""
    mean: Floats
    """(in,)"""


def quantise(
    shape: Shape,
    weights: Weights,
    batches: Sequence[Batch],
    *,
    pooling: Pooling,
    source_sha256: str,
    progress: Callable[[str], None] | None = None,
) -> Int8Weights:
    """Return the int8 form of `weights`, calibrated on the texts in `batches` (100 to 500 do).

    With [CLS] pooling the last layer, which costs next to nothing, keeps its precision.
    Runs the model twice in fp32 and then needs about 1 s per layer of 512 hidden, 15 s of 768.
    `progress` gets the name of each input as it is done.
    """
    probes = _Probes(shape, weights, pooling)
    spans = _ranges(probes, batches, weights)
    linears: dict[str, Linear] = {}
    for name, moments in _moments(probes, batches, spans):
        for linear in consumers(name):
            linears[linear] = quantise_linear(
                weights[f"{linear}.weight"],
                weights[f"{linear}.bias"],
                span=spans[name],
                moments=moments.products,
                mean=moments.mean,
            )
        if progress:
            progress(name)
    words, scales = quantise_rows(weights[WORDS])
    taken = {WORDS, *(f"{name}.{part}" for name in linears for part in ("weight", "bias"))}
    others = {
        # Rounded as the file will hold them, so that what is measured is what is read back.
        name: value.astype(np.float16).astype(np.float32)
        for name, value in weights.items()
        if name not in taken
    }
    return Int8Weights(linears, spans, words, scales, others, source_sha256)


class _Probes:
    """The fp32 model with the inputs of its linear layers as outputs."""

    def __init__(self, shape: Shape, weights: Weights, pooling: Pooling) -> None:
        builder = GraphBuilder(shape, weights)
        model = builder.build(pooling, probe=True)
        last = f"encoder.layer.{shape.layers - 1}."
        self.names = [
            name for name in builder.probes if pooling != "cls" or not name.startswith(last)
        ]
        self._outputs = {name: 1 + list(builder.probes).index(name) for name in self.names}
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        self._request: Any = ov.Core().compile_model(model, "CPU", options).create_infer_request()

    def rows(self, batch: Batch) -> Iterator[tuple[str, Floats]]:
        """Yield each probe's name and its values at real tokens, (n, in)."""
        self._request.infer([batch.ids, batch.lengths])
        real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
        for name, output in self._outputs.items():
            yield name, self._request.get_output_tensor(output).data[real.reshape(-1)]


def _ranges(probes: _Probes, batches: Sequence[Batch], weights: Weights) -> dict[str, InputRange]:
    low: dict[str, Floats] = {}
    high: dict[str, Floats] = {}
    for batch in batches:
        for name, rows in probes.rows(batch):
            smallest, largest = rows.min(axis=0), rows.max(axis=0)
            low[name] = np.minimum(low.get(name, smallest), smallest)
            high[name] = np.maximum(high.get(name, largest), largest)
    return {
        name: input_range(
            low[name], high[name], [weights[f"{linear}.weight"] for linear in consumers(name)]
        )
        for name in probes.names
    }


def _moments(
    probes: _Probes, batches: Sequence[Batch], spans: dict[str, InputRange]
) -> Iterator[tuple[str, Moments]]:
    products = {name: np.zeros((len(span.low),) * 2, np.float32) for name, span in spans.items()}
    sums = {name: np.zeros(len(span.low), np.float64) for name, span in spans.items()}
    count = 0
    for batch in batches:
        count += int(batch.lengths.sum())
        for name, rows in probes.rows(batch):
            grid = (rows - spans[name].middle) / spans[name].half
            products[name] += grid.T @ grid
            sums[name] += grid.sum(axis=0)
    for name in probes.names:
        yield (
            name,
            Moments(
                products.pop(name) * np.float32(1 / count), (sums[name] / count).astype(np.float32)
            ),
        )
