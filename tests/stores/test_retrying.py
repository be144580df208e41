from __future__ import annotations

import pytest

from corom.errors import ServiceError
from corom.stores import retrying
from corom.stores.retrying import with_patience


class Clock:
    """Time that passes only while somebody sleeps or works."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(retrying, "time", found)
    return found


def always(error: Exception) -> bool:
    return True


def test_what_works_is_done_once(clock: Clock) -> None:
    calls: list[float] = []
    assert with_patience(lambda left: calls.append(left) or 7, transient=always, what="x") == 7
    assert calls == [30.0]
    assert clock.slept == []


def test_tries_again_and_later_each_time(clock: Clock) -> None:
    tries: list[float] = []
    between: list[float] = []

    def action(left: float) -> str:
        tries.append(left)
        if len(tries) < 9:
            raise ConnectionError
        return "done"

    done = with_patience(
        action,
        transient=always,
        what="x",
        deadline=60,
        between=lambda: between.append(clock.now),
    )
    assert done == "done"
    assert clock.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert len(between) == 8
    assert tries == sorted(tries, reverse=True)


def test_gives_up_at_the_deadline(clock: Clock) -> None:
    def action(left: float) -> None:
        clock.now += 1
        raise TimeoutError("secret text of a patient")

    with pytest.raises(ServiceError, match=r"milvus://db/m does not answer \(TimeoutError; ") as e:
        with_patience(action, transient=always, what="milvus://db/m", deadline=10)
    assert clock.now <= 10 + 1
    assert "secret" not in str(e.value)


def test_other_trouble_passes(clock: Clock) -> None:
    def action(left: float) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        with_patience(action, transient=lambda error: False, what="x")
    assert clock.slept == []


def test_trouble_between_counts_too(clock: Clock) -> None:
    def fail(left: float = 0) -> None:
        raise ConnectionError

    with pytest.raises(ServiceError):
        with_patience(fail, transient=always, what="x", deadline=2, between=fail)


def test_the_code_of_a_grpc_error_is_told(clock: Clock) -> None:
    class Code:
        name = "UNAVAILABLE"

    class RpcError(Exception):
        def code(self) -> Code:
            return Code()

    def action(left: float) -> None:
        raise RpcError

    with pytest.raises(ServiceError, match="RpcError UNAVAILABLE"):
        with_patience(action, transient=always, what="x", deadline=1)
