"""Bootstrap intervals and the paired test: exact small cases, coverage, seeds."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import InputError
from corom.significance import bootstrap_interval, paired_test

VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=12)


@given(VALUES, st.integers(0, 9))
def test_an_interval_lies_within_the_values_and_repeats(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(values, samples=200, seed=seed)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert bootstrap_interval(values, samples=200, seed=seed) == (low, high)


def test_one_value_and_equal_values_have_no_width() -> None:
    assert bootstrap_interval([0.5]) == (0.5, 0.5)
    assert bootstrap_interval([0.25] * 100) == (0.25, 0.25)


def test_the_interval_is_that_of_theory_for_many_values() -> None:
    values = np.random.default_rng(1).random(2000)
    low, high = bootstrap_interval(values)
    width = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - width, abs=width / 15)
    assert high == pytest.approx(values.mean() + width, abs=width / 15)
    narrow = bootstrap_interval(values, confidence=0.5)
    assert low < narrow.low < narrow.high < high


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.random(50) < 0.3, confidence=0.9, samples=300)
        covered += low <= 0.3 <= high
    assert 0.84 < covered / 300 < 0.95


@given(st.lists(st.sampled_from([-0.5, -0.1, 0.0, 0.1, 0.3, 1.0]), min_size=1, max_size=8))
def test_the_p_value_is_near_the_share_of_all_sign_tosses(differences: list[float]) -> None:
    total = abs(sum(differences))
    tosses = itertools.product([-1, 1], repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(toss, differences, strict=True))) for toss in tosses]
    exact = sum(value >= total - 1e-9 for value in sums) / len(sums)
    tested = paired_test(differences, np.zeros(len(differences)), samples=4000)
    assert tested.p_value == pytest.approx(exact, abs=0.045)
    assert tested.difference == pytest.approx(np.mean(differences))


def test_alike_systems_and_different_ones() -> None:
    rng = np.random.default_rng(3)
    a = rng.random(1000)
    assert paired_test(a, a) == (0.0, (0.0, 0.0), 1.0)
    better = a + 0.02 + rng.normal(0, 0.1, 1000)
    tested = paired_test(better, a)
    assert tested.p_value == pytest.approx(1 / 10_001)
    assert 0 < tested.interval.low < tested.difference < tested.interval.high
    mirrored = paired_test(a, better)
    assert mirrored.p_value == tested.p_value
    assert mirrored.difference == -tested.difference


def test_alike_systems_seldom_pass_for_different() -> None:
    rng = np.random.default_rng(4)
    p_values = [
        paired_test(rng.random(30), rng.random(30), samples=400, seed=s).p_value for s in range(300)
    ]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_seeds_change_the_tosses_only() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random(40), rng.random(40)
    assert paired_test(a, b, seed=1) == paired_test(a, b, seed=1)
    one, two = (paired_test(a, b, seed=seed) for seed in (1, 2))
    assert one.difference == two.difference
    assert one.interval != two.interval
    assert one.p_value != two.p_value
    assert one.p_value == pytest.approx(two.p_value, abs=0.03)


def test_defaults_are_a_95_percent_interval_of_ten_thousand_samples() -> None:
    values = np.random.default_rng(7).random(20)
    interval = bootstrap_interval(values, confidence=0.95, samples=10_000, seed=0)
    assert bootstrap_interval(values) == paired_test(values, np.zeros(20)).interval == interval


@pytest.mark.parametrize("samples", [1, 2, 1048, 1049, 2096, 2500])
def test_there_are_as_many_tosses_as_asked_for(samples: int) -> None:
    # 1,048 rows of 125 bytes are drawn at once; of no difference every toss counts.
    assert paired_test(np.ones(1000), np.ones(1000), samples=samples).p_value == 1


@pytest.mark.parametrize("values", [[], [[0.5]], 0.5, [float("nan")], [float("inf")]])
def test_bad_values_are_refused(values: object) -> None:
    with pytest.raises(InputError):
        bootstrap_interval(values)
    with pytest.raises(InputError):
        paired_test(values, values)


def test_bad_options_are_refused() -> None:
    for options in ({"confidence": 0}, {"confidence": 1.0}, {"samples": 0}):
        with pytest.raises(InputError):
            bootstrap_interval([0.5], **options)
        with pytest.raises(InputError):
            paired_test([0.5], [0.1], **options)
    with pytest.raises(InputError, match="same queries"):
        paired_test([0.5], [0.1, 0.2])


def test_ten_thousand_queries_are_quick() -> None:
    values = np.random.default_rng(6).random((2, 10_000))
    paired_test(*values, samples=100)
    times = []
    for _ in range(2):
        start = time.process_time()
        paired_test(*values)
        times.append(time.process_time() - start)
    assert min(times) < 3  # 0.6 s on an idle machine
