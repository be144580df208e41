"""A child process tells how many pages it was given: pytest's own would blur them."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from corom.training import heap
from corom.training.heap import freed_memory_kept, has_room

SCRIPT = """
import resource, sys
from contextlib import nullcontext
from corom.training.heap import freed_memory_kept

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    for _ in range(20):
        bytearray(b"x" * (64 << 20))

with freed_memory_kept() if sys.argv[1] == "kept" else nullcontext():
    step()
    before = faults()
    step()
    print(faults() - before)
before = faults()
step()
print(faults() - before)
"""


def faults(how: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True
    )
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_freed_memory_is_kept_and_given_back():
    (plain, _), (kept, after) = faults("usual"), faults("kept")
    if plain < 20 * 1000:
        pytest.skip("this C library keeps freed memory by itself")
    assert kept < plain / 100
    assert after > plain / 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's files")
def test_there_is_room_where_every_process_may_take_twice_as_much(monkeypatch, tmp_path):
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for limit, processes, room in (("max", 1, True), (3 * used, 1, True), (3 * used, 2, False)):
        (tmp_path / "memory.max").write_text(f"{limit}\n", encoding="ascii")
        monkeypatch.setattr(heap, "_LIMITS", (tmp_path / "memory.max", tmp_path / "none"))
        assert has_room(processes=processes) == room, (limit, processes)
    assert not has_room(processes=10**6)  # the machine itself has less


def test_without_glibc_nothing_happens(monkeypatch):
    chosen = []
    monkeypatch.setattr(heap, "_choose", lambda _, options: chosen.append(options))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not has_room(processes=1)
    with freed_memory_kept():
        pass
    assert not chosen


def test_errors_pass_through():
    with pytest.raises(ValueError, match="broken"), freed_memory_kept():
        raise ValueError("broken")
