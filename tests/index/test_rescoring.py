from __future__ import annotations

import numpy as np
import pytest

from corom.index import ExactOptions, rescoring
from corom.index.collection import Collection
from corom.index.rescoring import rescored
from corom.index.segments import make_segment
from corom.records import Passage
from index.samples import DIM, collection, expected, queries, spec

N = 60


@pytest.fixture(params=[(N,), (25, 1, 34)], ids=["one segment", "three"])
def filled(request):
    made, given, numbers = collection(*request.param)
    return made, [passage.id for passage in given], numbers


def found(held, candidates, k, asked):
    best = rescored(held, asked, candidates, k)
    ids = iter(held.ids(best.positions.ravel()))
    return [[(next(ids), score) for score in row] for row in best.scores.tolist()]


@pytest.mark.parametrize("floats", [1, 7 * N * DIM, 2**21])
@pytest.mark.parametrize("k", [1, 10, N])
def test_every_row_a_candidate_is_exact_search(filled, monkeypatch, floats, k):
    held, ids, numbers = filled
    monkeypatch.setattr(rescoring, "_FLOATS", floats)  # a query at a time, some, all
    everything = np.tile(np.arange(N), (20, 1))
    wanted = expected(ids, numbers, queries(20), k)
    assert found(held, everything, k, queries(20)) == wanted


def test_only_candidates_are_found_and_none_is_no_candidate(filled):
    held, ids, numbers = filled
    candidates = np.array([[-1, -1, 3, 40], [0, 1, 2, 59]])
    for row, query, k in zip(candidates, queries(2), (2, 4), strict=True):
        rows = row[row >= 0]
        wanted = expected([ids[r] for r in rows], numbers[rows], query[None], k)
        assert found(held, row[None], k, query[None]) == wanted


def test_minus_zero_ties_with_zero():
    held = Collection(spec(ExactOptions()))
    numbers = np.zeros((2, DIM), np.float32)
    numbers[1] = -0.0
    given = [Passage("2", ""), Passage("1", "")]
    held.append(make_segment(given, numbers, spec=held.spec))
    asked = np.ones((1, DIM), np.float32)
    assert found(held, np.array([[0, 1]]), 2, asked) == [[("1", 0.0), ("2", 0.0)]]
