"""What the tests of the service do again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient


def post(client: TestClient, path: str, **body: Any) -> Any:
    """Return what is answered to a request that is to succeed."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: TestClient, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """Return the status and the error of a request that is to fail."""
    return refusal(client.post(path, json=body))


def refusal(answer: Any) -> tuple[int, dict[str, Any]]:
    """Return the status of an answer and the error in its envelope."""
    envelope = answer.json()
    assert set(envelope) == {"error"}
    assert set(envelope["error"]) == {"message", "type", "param", "code"}
    return answer.status_code, envelope["error"]


def until(happened: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)
