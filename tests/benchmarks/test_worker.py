"""Objects in processes of their own, and what Linux says of processes."""

from __future__ import annotations

import os
from collections import Counter
from multiprocessing import active_children

import pytest

from processes import children, family, held_mb, memory_mb
from worker import Worker


def test_an_object_lives_in_a_process_of_its_own_until_it_is_closed() -> None:
    before = set(children(os.getpid()))
    worker = Worker(Counter, "头痛头")
    assert worker.ask("most_common", 1) == [("头", 2)]
    (process,) = set(children(os.getpid())) - before - {_tracker()}
    assert process in family(os.getpid())
    assert 0 < held_mb(process)["RssAnon"] <= held_mb(process)["VmHWM"]
    worker.close()
    assert process not in children(os.getpid())


def _tracker() -> int | None:
    """Python's own helper, which the first process starts beside it."""
    from multiprocessing import resource_tracker

    return resource_tracker._resource_tracker._pid


def test_what_is_raised_there_is_raised_here(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Worker(int, "头")
    worker = Worker(list, [1])
    with pytest.raises(ValueError, match="not in list"):
        worker.ask("index", 2)
    for process in active_children():
        process.join()
    assert capfd.readouterr().err.count("Traceback") == 2  # which says where


def test_memory_is_that_of_this_process() -> None:
    found = memory_mb()
    assert found.keys() == {"own", "mapped", "peak"}
    assert 0 < found["own"] < found["peak"]
