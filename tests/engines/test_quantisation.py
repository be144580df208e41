import numpy as np
import pytest

from corom.engines.quantisation import input_range, quantise_linear, quantise_rows


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _inputs(rng, n=4000, size=32):
    """Inputs with what hurts: one wide channel, one far from zero, correlated ones."""
    x = rng.normal(size=(n, size)) @ rng.normal(size=(size, size)) / size**0.5
    x[:, 3] *= 30
    x[:, 7] -= 25
    return x.astype(np.float32)


def _grid(x, span):
    steps = np.rint((np.clip(x, span.low, span.high) - span.low) / (span.high - span.low) * 255)
    return (steps / 255 * 2 - 1).astype(np.float32)


def _error(rng, *, moments):
    x, weight = _inputs(rng), rng.normal(size=(16, 32)).astype(np.float32)
    bias = rng.normal(size=16).astype(np.float32)
    span = input_range(x.min(0), x.max(0), [weight])
    exact_grid = (x - span.middle) / span.half
    products = exact_grid.T @ exact_grid / len(x) if moments else np.eye(32, dtype=np.float32)
    linear = quantise_linear(weight, bias, span=span, moments=products, mean=exact_grid.mean(0))
    assert linear.weight.dtype == np.int8
    found = _grid(x, span) @ (linear.weight * linear.scale[:, None]).T + linear.bias
    return np.abs(found - (x @ weight.T + bias)).mean() / np.abs(x @ weight.T + bias).mean()


def test_a_quantised_layer_stays_close_in_spite_of_outliers(rng):
    assert _error(rng, moments=True) < 0.01


def test_knowing_the_inputs_makes_rounding_better():
    known = np.mean([_error(np.random.default_rng(s), moments=True) for s in range(5)])
    unknown = np.mean([_error(np.random.default_rng(s), moments=False) for s in range(5)])
    assert known < 0.95 * unknown


def test_no_range_is_narrower_than_what_was_seen(rng):
    x, weight = _inputs(rng), rng.normal(size=(16, 32)).astype(np.float32)
    span = input_range(x.min(0), x.max(0), [weight, 5 * weight])
    assert (span.low <= x.min(0) + 1e-4).all()
    assert (span.high >= x.max(0) - 1e-4).all()


def test_a_dead_channel_and_a_zero_row_do_no_harm():
    low = high = np.array([0, 2], np.float32)
    weight = np.array([[0, 0], [1, 1]], np.float32)
    span = input_range(low, high, [weight])
    linear = quantise_linear(
        weight,
        np.zeros(2, np.float32),
        span=span,
        moments=np.zeros((2, 2), np.float32),
        mean=np.zeros(2, np.float32),
    )
    x = np.array([[0, 2]], np.float32)
    found = _grid(x, span) @ (linear.weight * linear.scale[:, None]).T + linear.bias
    np.testing.assert_allclose(found, [[0, 2]], atol=0.01)


def test_rows_keep_their_own_scale():
    table = np.array([[1e-3, -2e-3], [100, 50], [0, 0]], np.float32)
    grid, scales = quantise_rows(table)
    np.testing.assert_allclose(grid * scales[:, None], table, rtol=0.01)
