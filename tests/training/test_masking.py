from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.training import masking
from corom.training.masking import CAP, UNMASKED, Statistics, importance, mask, probabilities

STATISTICS = Statistics(np.array([0, 1000, 10, 500]), documents=1000, mean_length=4.0)


def test_importance_is_bm25_of_the_corpus():
    weights = importance(np.array([1, 2, 2, 3]), STATISTICS)
    idf = math.log(1 + (1000 - 10 + 0.5) / 10.5)
    assert weights[1] == weights[2] == pytest.approx(idf * 2 * 2.2 / (2 + 1.2))
    assert weights[0] < 0.01 < weights[3] < weights[1]
    longer = importance(np.array([1, 2, 2, 3, 1, 1, 1, 1]), STATISTICS)
    assert longer[1] < weights[1], "the same counts weigh less in a longer span"


def test_an_unseen_token_is_the_rarest():
    weights = importance(np.array([0, 2]), STATISTICS)
    assert np.isfinite(weights).all()
    assert weights[0] > weights[1]


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.floats(0.01, 0.5),
)
def test_probabilities_have_the_right_mean_order_and_bounds(weights, rate):
    weights = np.array(weights)
    chances = probabilities(weights, rate=rate)
    assert (chances >= 0).all()
    assert (chances <= CAP + 1e-12).all()
    assert chances.mean() <= rate + 1e-9
    if (weights > 1).sum() * CAP > rate * len(weights):
        assert chances.mean() == pytest.approx(rate)
    order = np.argsort(weights)
    assert (np.diff(chances[order]) >= -1e-9).all()


@pytest.mark.parametrize(
    ("weights", "rate", "chances"),
    [
        ([1, 2, 3, 4], 0.2, [0.08, 0.16, 0.24, 0.32]),
        ([0, 0, 5], 0.1, [0, 0, 0.3]),
        ([1, 1, 8], 0.4, [0.3, 0.3, 0.6]),  # 0.96 is cut to 0.6, the rest shares what is left
        ([1, 4, 8, 100], 0.5, [0.2, 0.6, 0.6, 0.6]),
        ([1, 1], 0.9, [0.6, 0.6]),
    ],
)
def test_probabilities_by_hand(weights, rate, chances):
    found = probabilities(np.array(weights, np.float64), rate=rate)
    assert found.tolist() == pytest.approx(chances)


def test_equal_weights_mask_evenly_and_no_weights_too():
    assert probabilities(np.ones(5), rate=0.3).tolist() == pytest.approx([0.3] * 5)
    assert probabilities(np.zeros(5), rate=0.3).tolist() == pytest.approx([0.3] * 5)
    assert probabilities(np.zeros(0), rate=0.3).shape == (0,)


def test_masking_hides_as_often_as_told():
    ids, rng = np.full(40_000, 7), np.random.default_rng(0)
    shown, labels = mask(ids, np.full(40_000, 0.25), mask_id=3, vocabulary=100, rng=rng)
    hidden = labels != UNMASKED
    assert hidden.mean() == pytest.approx(0.25, abs=0.01)
    assert (labels[hidden] == 7).all()
    assert (shown[~hidden] == 7).all()
    assert (shown[hidden] == 3).mean() == pytest.approx(0.8 + 0.001, abs=0.02)
    assert (shown[hidden] == 7).mean() == pytest.approx(0.1, abs=0.01)


def test_masking_is_a_pure_function_of_the_generator():
    ids, chances = np.arange(50), np.full(50, 0.5)

    def once(seed):
        rng = np.random.default_rng(seed)
        return mask(ids, chances, mask_id=3, vocabulary=100, rng=rng)[0].tolist()

    assert once(1) == once(1) != once(2)


def test_what_is_certain_is_masked_and_what_is_impossible_is_not():
    chances = np.array([0.0, 1.0])
    _, labels = masking.mask(
        np.array([5, 6]), chances, mask_id=3, vocabulary=9, rng=np.random.default_rng(0)
    )
    assert labels.tolist() == [UNMASKED, 6]
