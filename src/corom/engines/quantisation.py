"""Weights and input ranges to int8: pure numpy, no data flow.

Known ideas, each worth a factor on real weights:

- every input channel gets its own range, also shifted: BERT has a few channels twenty times wider
  than the rest, often far from 0;
- a range is widened where the weights behind it are small, so that activations and weights share
  the difficulty (SmoothQuant, arXiv 2211.10438); how much, is tried out for each input;
- weights are rounded one input at a time, the error of each spread over those not rounded yet
  (GPTQ, arXiv 2210.17323), with the inputs' own covariance; what is left on average goes into the
  bias.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.models.int8 import InputRange, Linear

Floats = NDArray[np.float32]

RECIPE = 2
"""Grows when calibration changes, so that forms kept from before are made anew."""

# 1: ranges as narrow as what was seen; less: wider where weights are small.
SMOOTHINGS = (1.0, 0.95, 0.9, 0.85, 0.8)
DAMPING = 0.01
_BLOCK = 128
_NARROWEST = 1e-4
_TRIAL_OUTPUTS = 64


class Inputs(NamedTuple):
    """What calibration saw of one input of linear layers."""

    low: Floats
    """(in,) the smallest values"""
    high: Floats
    """(in,) the largest values"""
    mean: Floats
    """(in,)"""
    covariance: Floats
    """(in, in)"""


def input_range(
    low: Floats, high: Floats, weights: list[Floats], *, smoothing: float
) -> InputRange:
    """Return the range to quantise each input channel over.

    `low` and `high` (in,) are the smallest and largest values seen; `weights` are the matrices
    (out, in) that read this input. No channel's range is narrower than what was seen.
    """
    middle = (low + high) / 2
    half = np.maximum((high - low) / 2, _NARROWEST)
    strongest = np.maximum(np.max([np.abs(weight).max(axis=0) for weight in weights], axis=0), 1e-5)
    wanted = half**smoothing / strongest ** (1 - smoothing)
    wanted *= (half / wanted).max()
    return InputRange((middle - wanted).astype(np.float32), (middle + wanted).astype(np.float32))


def on_grid(rows: Floats, span: InputRange) -> Floats:
    """Return `rows` (n, in) as an int8 layer sees them: 256 levels from -1 to 1."""
    steps = np.float32(127.5)
    levels: Floats = np.rint((np.clip((rows - span.middle) / span.half, -1, 1) + 1) * steps)
    return levels / steps - 1


def best_smoothing(
    trial: Inputs, rows: Floats, weights: list[Floats], *, spread: Floats, gain: Floats | None
) -> float:
    """Return the smoothing with which the outputs come out closest.

    `trial` has the ranges of some texts, `rows` (n, in) are inputs of others, so that what lies
    outside too narrow a range counts. `gain` (out,) is what an output's error counts, squared:
    the scale of the norm behind it. Without, a sample of the outputs decides, each layer's alike.
    """
    if gain is None:
        samples = [weight[:: max(1, len(weight) // _TRIAL_OUTPUTS)] for weight in weights]
    else:
        # All: some layers put nearly everything into one output, which a sample would miss.
        samples = [weight * gain[:, None] for weight in weights]

    def error(smoothing: float) -> float:
        span = input_range(trial.low, trial.high, weights, smoothing=smoothing)
        seen, total = on_grid(rows, span), 0.0
        for weight in samples:
            none = np.zeros(len(weight), np.float32)
            linear = quantise_linear(weight, none, span=span, spread=spread, mean=trial.mean)
            exact = rows @ weight.T
            found = seen @ (linear.weight * linear.scale[:, None]).T + linear.bias
            total += float(np.square(found - exact).mean() / exact.var())
        return total

    return min(SMOOTHINGS, key=error)


def error_spread(covariance: Floats) -> Floats:
    """Return how the error of rounding one input is spread over the later ones: GPTQ's factor.

    (in, in), upper triangular. Damping is relative to each input's own variance, so that the
    factor fits whatever the inputs are scaled by. Costs O(in^3): about 2 s for 3,072.
    """
    damped = covariance.astype(np.float64)
    diagonal = np.diag_indices(len(damped))
    damped[diagonal] = np.maximum(damped[diagonal] * (1 + DAMPING), 1e-10)
    return np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)


def quantise_linear(
    weight: Floats, bias: Floats, *, span: InputRange, spread: Floats, mean: Floats
) -> Linear:
    """Return the int8 form of `weight @ x + bias` for inputs quantised over `span`.

    `spread` is `error_spread` of the inputs, `mean` (in,) their mean. Costs O(out * in^2).
    """
    scaled = weight * span.half
    scale = np.maximum(np.abs(scaled).max(axis=1), 1e-12) / 127
    grid = _round(scaled / scale[:, None], spread * span.half)
    # What rounding leaves on average goes into the bias.
    typical = (mean - span.middle) / span.half
    bias = bias + weight @ span.middle + (scaled - grid * scale[:, None]) @ typical
    return Linear(grid.astype(np.int8), scale.astype(np.float32), bias.astype(np.float32))


def _round(weight: Floats, spread: Floats) -> Floats:
    """Return `weight` (in units of its grid) rounded by GPTQ."""
    size = len(spread)
    left = weight.astype(np.float32).copy()
    rounded = np.empty_like(left)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        errors = np.empty((len(left), stop - start), np.float32)
        for k in range(start, stop):
            rounded[:, k] = np.clip(np.rint(left[:, k]), -127, 127)
            errors[:, k - start] = (left[:, k] - rounded[:, k]) / spread[k, k]
            left[:, k + 1 : stop] -= np.outer(errors[:, k - start], spread[k, k + 1 : stop])
        left[:, stop:] -= errors @ spread[start:stop, stop:]
    return rounded


def quantise_rows(table: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return `table` (n, dim) as int8 and one scale per row (n,)."""
    scales = np.maximum(np.abs(table).max(axis=1), 1e-12) / 127
    return np.rint(table / scales[:, None]).astype(np.int8), scales.astype(np.float32)
