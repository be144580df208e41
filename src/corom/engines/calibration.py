"""From a checkpoint and some text to its int8 form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corom.engines.graph import GraphBuilder
from corom.engines.quantisation import (
    Floats,
    Inputs,
    best_smoothing,
    error_spread,
    input_range,
    quantise_linear,
    quantise_rows,
)
from corom.engines.quiet_openvino import ov
from corom.models.config import Pooling, Shape
from corom.models.int8 import WORDS, InputRange, Int8Weights, Linear, consumers
from corom.models.weights import Weights
from corom.tokens import Batch

# Tokens of the odd texts that ranges are tried on, for each input.
_TRIAL_ROWS = 512


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
    Runs the model once in fp32 and then needs about 3 s per layer of 512 hidden, 10 s of 768.
    `progress` gets the name of each input as it is done.
    """
    probes = _Probes(shape, weights, pooling)
    spans: dict[str, InputRange] = {}
    linears: dict[str, Linear] = {}
    for name, seen in _observe(probes, batches):
        names, inputs = consumers(name), seen.inputs()
        matrices = [weights[f"{linear}.weight"] for linear in names]
        spread = error_spread(inputs.covariance)
        smoothing = best_smoothing(
            seen.even(),
            seen.kept(),
            matrices,
            spread=spread,
            # Behind an output projection stands a norm, whose scale says what an output counts.
            gain=weights.get(f"{name.removesuffix('dense')}LayerNorm.weight"),
        )
        spans[name] = input_range(inputs.low, inputs.high, matrices, smoothing=smoothing)
        for linear, matrix in zip(names, matrices, strict=True):
            bias = weights[f"{linear}.bias"]
            linears[linear] = quantise_linear(
                matrix, bias, span=spans[name], spread=spread, mean=inputs.mean
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

    def rows(self, batch: Batch) -> Iterator[tuple[str, Floats, NDArray[np.bool_]]]:
        """Yield each probe's name, its values at real tokens (n, in), which are of odd texts."""
        self._request.infer([batch.ids, batch.lengths])
        real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
        odd = np.repeat(batch.rows % 2 == 1, batch.lengths)
        for name, output in self._outputs.items():
            yield name, self._request.get_output_tensor(output).data[real], odd


class _Seen:
    """What calibration saw of one input: of all texts, and of even and odd ones apart."""

    def __init__(self, first: Floats, *, step: int) -> None:
        self._shift = first.mean(axis=0)  # close to the mean: sums of squares lose no digits
        self._products = np.zeros((len(self._shift),) * 2, np.float32)
        self._sum = np.zeros(len(self._shift), np.float64)
        self._count, self._step = 0, step
        self._ends: dict[bool, tuple[Floats, Floats]] = {}
        self._kept: list[Floats] = []

    def add(self, rows: Floats, odd: NDArray[np.bool_]) -> None:
        centred = rows - self._shift
        self._products += centred.T @ centred
        self._sum += centred.sum(axis=0)
        self._count += len(rows)
        for side in (False, True):
            part = rows[odd == side]
            if not len(part):
                continue
            low, high = self._ends.get(side, (part[0], part[0]))
            self._ends[side] = np.minimum(low, part.min(0)), np.maximum(high, part.max(0))
        self._kept.append(rows[odd][:: self._step])

    def inputs(self) -> Inputs:
        """Return what all texts showed."""
        offset = (self._sum / self._count).astype(np.float32)
        covariance = self._products / np.float32(self._count) - np.outer(offset, offset)
        lows, highs = zip(*self._ends.values(), strict=True)
        return Inputs(np.min(lows, 0), np.max(highs, 0), self._shift + offset, covariance)

    def even(self) -> Inputs:
        """Return the ranges of the even texts, with the mean and covariance of all."""
        low, high = self._ends[False]
        return self.inputs()._replace(low=low, high=high)

    def kept(self) -> Floats:
        """Return a sample of the odd texts' tokens, (n, in)."""
        return np.concatenate(self._kept)


def _observe(probes: _Probes, batches: Sequence[Batch]) -> Iterator[tuple[str, _Seen]]:
    tokens = sum(int(batch.lengths.sum()) for batch in batches)
    step = max(1, tokens // 2 // _TRIAL_ROWS)
    seen: dict[str, _Seen] = {}
    for batch in batches:
        for name, rows, odd in probes.rows(batch):
            seen.setdefault(name, _Seen(rows, step=step)).add(rows, odd)
    for name in probes.names:
        yield name, seen.pop(name)  # its memory is free again
