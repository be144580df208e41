from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.training.plan import graded_batches, plan_epoch, plan_run, uses


@given(st.lists(st.floats(0, 3), max_size=30), st.integers(0, 2**32))
def test_rows_are_used_as_often_as_they_weigh(weights, seed):
    counts = uses(np.array(weights), rng=np.random.default_rng(seed))
    assert abs(counts.sum() - sum(weights)) < 1
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - weight) <= 1


def test_a_fractional_weight_is_met_over_epochs():
    weights = np.full(100, 0.3)
    totals = sum(uses(weights, rng=np.random.default_rng(seed)) for seed in range(400))
    assert totals.min() > 80
    assert totals.max() < 160


def test_an_epoch_uses_every_row_once_in_another_order():
    one, other = (plan_epoch(np.ones(10), size=3, seed=1, epoch=epoch) for epoch in (0, 1))
    assert one.shape == other.shape == (3, 3)
    assert len(set(one.flatten().tolist())) == 9
    assert one.tolist() != other.tolist()


def test_an_epoch_is_a_pure_function_of_seed_and_epoch():
    keys = np.arange(40).reshape(20, 2) % 13
    for given_keys in (None, keys):
        plans = [
            plan_epoch(np.ones(20), size=4, seed=seed, epoch=2, keys=given_keys).tolist()
            for seed in (5, 5, 6)
        ]
        assert plans[0] == plans[1] != plans[2]


def test_rows_that_share_a_key_never_meet():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 60, (300, 2))
    plan = plan_epoch(np.full(300, 1.5), size=8, seed=0, epoch=0, keys=keys)
    assert len(plan) > 40
    for batch in plan:
        seen = Counter(key for row in batch for key in set(keys[row].tolist()))
        assert max(seen.values()) == 1
    assert max(Counter(plan.flatten().tolist()).values()) == 2


def test_a_key_that_all_rows_share_leaves_no_batch():
    assert plan_epoch(np.ones(9), size=2, seed=0, epoch=0, keys=np.ones((9, 1))).shape == (0, 2)


@pytest.mark.parametrize("rows", [0, 3])
def test_too_few_rows_for_a_batch(rows):
    for keys in (None, np.arange(rows)[:, None]):
        assert plan_epoch(np.ones(rows), size=4, seed=0, epoch=0, keys=keys).shape == (0, 4)


def test_a_run_is_its_epochs_one_after_another():
    plan = plan_run(np.ones(12), size=3, seed=4, epochs=2.5)
    assert plan.epochs.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    for epoch in range(2):
        expected = plan_epoch(np.ones(12), size=3, seed=4, epoch=epoch)
        assert plan.rows[plan.epochs == epoch].tolist() == expected.tolist()


def test_a_run_stops_at_its_most_batches():
    plan = plan_run(np.ones(12), size=3, seed=4, epochs=1000, most=6)
    assert plan.epochs.tolist() == [0] * 4 + [1] * 2
    assert len(plan.rows) == 6
    assert plan_run(np.ones(12), size=3, seed=4, epochs=1000, most=2).per_epoch == 4
    assert plan_run(np.ones(12), size=3, seed=4, epochs=0.5).per_epoch == 4
    assert plan_run(np.ones(2), size=3, seed=4, epochs=2).per_epoch == 0


def test_batches_are_filled_from_one_topic():
    topics = np.repeat([0, 1, 2, 3], 25)
    plan = plan_epoch(np.ones(100), size=8, seed=1, epoch=0, topics=topics)
    assert plan.shape == (12, 8)
    assert len(set(plan.flatten().tolist())) == 96
    kinds = [len(set(topics[batch].tolist())) for batch in plan]
    assert max(kinds) == 2  # where one topic ends and the next begins
    assert kinds.count(2) <= 3
    order = [topics[batch[0]] for batch in plan]
    assert sum(one != next_ for one, next_ in pairwise(order)) > 3  # topics take turns
    again = plan_epoch(np.ones(100), size=8, seed=1, epoch=0, topics=topics)
    assert plan.tolist() == again.tolist()


def test_topics_and_keys_hold_together():
    topics, keys = np.repeat([0, 1], 20), np.tile(np.arange(10), 4)[:, None]
    plan = plan_epoch(np.ones(40), size=5, seed=3, epoch=2, keys=keys, topics=topics)
    assert len(plan) >= 6
    for batch in plan:
        assert len({int(keys[row, 0]) for row in batch}) == 5


def test_keys_and_topics_hold_in_every_epoch_of_a_run():
    topics, keys = np.repeat([0, 1], 20), np.tile(np.arange(10), 4)[:, None]
    for given_keys, given_topics in ((keys, None), (None, topics), (keys, topics)):
        chosen = {"size": 5, "seed": 3, "keys": given_keys, "topics": given_topics}
        plan = plan_run(np.ones(40), epochs=2, **chosen)
        for epoch in range(2):
            expected = plan_epoch(np.ones(40), epoch=epoch, **chosen)
            assert plan.rows[plan.epochs == epoch].tolist() == expected.tolist()


def test_graded_batches_do_not_depend_on_how_a_process_hashes_sources():
    one, other = (
        graded_batches([f"{name}{n:02}" for n in range(30)], size=1, seed=1, epoch=0).tolist()
        for name in ("m", "n")
    )
    assert one == other


def test_graded_batches_are_of_one_source_each():
    sources = ["a"] * 10 + ["b"] * 7 + ["c"] * 2
    first = graded_batches(sources, size=3, seed=1, epoch=0)
    assert first.shape == (5, 3)
    assert all(len({sources[row] for row in batch}) == 1 for batch in first)
    assert len(set(first.flatten().tolist())) == 15
    np.testing.assert_array_equal(first, graded_batches(sources, size=3, seed=1, epoch=0))
    assert not np.array_equal(first, graded_batches(sources, size=3, seed=1, epoch=1))
    assert graded_batches([], size=3, seed=1, epoch=0).shape == (0, 3)
