import numpy as np
import pytest

from corom.engines.quantisation import (
    SMOOTHINGS,
    Inputs,
    best_smoothing,
    error_spread,
    input_range,
    on_grid,
    quantise_linear,
    quantise_rows,
)
from corom.models.int8 import InputRange


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _inputs(rng, n=4000, size=32):
    """Inputs with what hurts: one wide channel, one far from zero, correlated ones."""
    x = rng.normal(size=(n, size)) @ rng.normal(size=(size, size)) / size**0.5
    x[:, 3] *= 30
    x[:, 7] -= 25
    return x.astype(np.float32)


def _inputs_of(x, covariance=None):
    covariance = np.cov(x.T, bias=True) if covariance is None else covariance
    return Inputs(x.min(0), x.max(0), x.mean(0), covariance.astype(np.float32))


def _error(rng, *, known):
    x, weight = _inputs(rng), rng.normal(size=(16, 32)).astype(np.float32)
    bias = rng.normal(size=16).astype(np.float32)
    span = input_range(x.min(0), x.max(0), [weight], smoothing=0.9)
    covariance = np.cov(x.T) if known else np.diag(x.var(0))
    linear = quantise_linear(
        weight, bias, span=span, spread=error_spread(covariance), mean=x.mean(0)
    )
    assert linear.weight.dtype == np.int8
    found = on_grid(x, span) @ (linear.weight * linear.scale[:, None]).T + linear.bias
    return np.abs(found - (x @ weight.T + bias)).mean() / np.abs(x @ weight.T + bias).mean()


def test_a_quantised_layer_stays_close_in_spite_of_outliers(rng):
    assert _error(rng, known=True) < 0.01


def test_knowing_the_inputs_makes_rounding_better():
    known = np.mean([_error(np.random.default_rng(s), known=True) for s in range(5)])
    unknown = np.mean([_error(np.random.default_rng(s), known=False) for s in range(5)])
    assert known < 0.95 * unknown


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_no_range_is_narrower_than_what_was_seen(rng, smoothing):
    x, weight = _inputs(rng), rng.normal(size=(16, 32)).astype(np.float32)
    span = input_range(x.min(0), x.max(0), [weight, 5 * weight], smoothing=smoothing)
    assert (span.low <= x.min(0) + 1e-4).all()
    assert (span.high >= x.max(0) - 1e-4).all()


def test_a_dead_channel_and_a_zero_row_do_no_harm():
    low = high = np.array([0, 2], np.float32)
    weight = np.array([[0, 0], [1, 1]], np.float32)
    span = input_range(low, high, [weight], smoothing=0.9)
    linear = quantise_linear(
        weight,
        np.zeros(2, np.float32),
        span=span,
        spread=error_spread(np.zeros((2, 2), np.float32)),
        mean=low,
    )
    x = np.array([[0, 2]], np.float32)
    found = on_grid(x, span) @ (linear.weight * linear.scale[:, None]).T + linear.bias
    np.testing.assert_allclose(found, [[0, 2]], atol=0.01)


def test_the_best_smoothing_is_the_one_that_serves_unseen_inputs(rng):
    x, weight = _inputs(rng), rng.normal(size=(16, 32)).astype(np.float32)
    weight[:, 3] /= 100  # the wide channel hardly counts: wide steps do no harm there
    seen, unseen = x[::2], x[1::2]
    inputs = _inputs_of(seen)
    spread = error_spread(inputs.covariance)
    options = {"spread": spread, "gain": None}
    assert best_smoothing(inputs, unseen, [weight], **options) in SMOOTHINGS

    def error(smoothing):
        span = input_range(inputs.low, inputs.high, [weight], smoothing=smoothing)
        none = np.zeros(16, np.float32)
        linear = quantise_linear(weight, none, span=span, spread=spread, mean=inputs.mean)
        found = on_grid(unseen, span) @ (linear.weight * linear.scale[:, None]).T + linear.bias
        return np.square(found - unseen @ weight.T).mean()

    best = best_smoothing(inputs, unseen, [weight], **options)
    assert error(best) == min(map(error, SMOOTHINGS))
    # What counts for nothing behind the layer decides nothing.
    one = np.zeros(16, np.float32)
    one[5] = 1
    alone = best_smoothing(inputs, unseen, [weight[5:6]], spread=spread, gain=None)
    assert best_smoothing(inputs, unseen, [weight], spread=spread, gain=one) == alone


def test_a_grid_has_256_levels_and_ends(rng):
    span = InputRange(np.array([-3], np.float32), np.array([5], np.float32))
    found = on_grid(np.linspace(-9, 9, 5000, dtype=np.float32)[:, None], span)
    assert len(np.unique(found)) == 256
    assert (found.min(), found.max()) == (-1, 1)


def test_rows_keep_their_own_scale():
    table = np.array([[1e-3, -2e-3], [100, 50], [0, 0]], np.float32)
    grid, scales = quantise_rows(table)
    np.testing.assert_allclose(grid * scales[:, None], table, rtol=0.01)
