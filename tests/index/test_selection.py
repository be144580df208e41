from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.index.selection import GONE, LOW, Selection, keys_of, scores_of
from corom.ranking import top_k

FLOATS = st.floats(width=32, allow_nan=False)


def stream(selection, scores, tags, *, block):
    for start in range(0, scores.shape[1], block):
        part = slice(start, start + block)
        selection.offer(np.ascontiguousarray(scores[:, part]), tags[part])


@given(st.lists(st.tuples(FLOATS, st.integers(0, 2**32 - 1)), min_size=1, max_size=50))
def test_keys_sort_as_score_then_tag(pairs):
    scores = np.array([score for score, _ in pairs], np.float32)
    tags = np.array([tag for _, tag in pairs], np.int64)
    keys = keys_of(scores, tags)
    assert np.array_equal(scores_of(keys), scores)
    assert np.array_equal(keys & LOW, tags)
    by_rule = np.lexsort((tags, scores))
    assert np.array_equal(keys[by_rule], np.sort(keys))


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 12), st.integers(1, 64))
def test_equals_ranking_everything(seed, n, k, block):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 4, (3, n)).astype(np.float32) / np.float32(2)
    ranks, gone = rng.permutation(n), rng.random(n) < 0.2
    gone[0] = False
    k = min(k, int((~gone).sum()))
    masked = np.where(gone, np.float32(-np.inf), scores)
    wanted = top_k(masked, k, ranks=ranks).positions
    floor = np.sort(masked, axis=1)[:, -k] - np.float32(rng.integers(0, 2))
    for guess in (floor, np.full(3, -np.inf, np.float32)):
        selection = Selection(k, guess)
        stream(selection, scores, np.where(gone, GONE, LOW - ranks), block=block)
        assert not selection.short.size
        found = np.argsort(ranks)[LOW - selection.tags()]
        assert np.array_equal(np.sort(found, axis=1), np.sort(wanted, axis=1))


def test_room_runs_out_with_everything_tied():
    selection = Selection(2, np.full(2, -np.inf, np.float32))
    scores = np.zeros((2, 5000), np.float32)
    stream(selection, scores, LOW - np.arange(5000)[::-1], block=1000)
    assert np.array_equal(np.sort(LOW - selection.tags(), axis=1), [[0, 1], [0, 1]])


def test_a_floor_too_high_shows():
    selection = Selection(3, np.array([0.5, 10.0], np.float32))
    stream(selection, np.ones((2, 8), np.float32), LOW - np.arange(8), block=8)
    assert selection.short.tolist() == [1]


@pytest.mark.parametrize("block", [1000, 2500])
def test_room_runs_out_for_one_query_and_not_for_another(block):
    rising = np.arange(6000, dtype=np.float32)
    scores = np.stack([rising, rising[::-1], np.random.default_rng(1).permutation(rising)])
    selection = Selection(5, np.full(3, -np.inf, np.float32))
    stream(selection, scores, LOW - np.arange(6000), block=block)
    wanted = np.sort(top_k(scores, 5).positions, axis=1)
    assert np.array_equal(np.sort(LOW - selection.tags(), axis=1), wanted)
    assert selection.floor.tolist() == [5995.0] * 3  # the last of the best is enough
