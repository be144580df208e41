from __future__ import annotations

import threading

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.training.loop import _ahead  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_batches_come_in_order_one_ahead(count):
    made = []

    def make(number):
        made.append((number, threading.get_ident()))
        return number * number

    coming = _ahead(make, range(count))
    assert list(coming) == [number * number for number in range(count)]
    assert [number for number, _ in made] == list(range(count))
    assert all(thread != threading.get_ident() for _, thread in made)


def test_what_goes_wrong_in_a_batch_is_raised_where_it_is_used():
    coming = _ahead(lambda number: 1 // (2 - number), range(5))
    assert next(coming) == 0
    assert next(coming) == 1
    with pytest.raises(ZeroDivisionError):
        next(coming)


def test_leaving_early_leaves_no_thread():
    before = set(threading.enumerate())
    coming = _ahead(lambda number: number, range(100))
    next(coming)
    coming.close()
    assert set(threading.enumerate()) <= before
