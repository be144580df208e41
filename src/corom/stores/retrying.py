"""Patience with a server: try again, a little later each time, until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from corom.errors import ServiceError

T = TypeVar("T")

DEADLINE = 30.0
"""Seconds an operation may take, all tries together."""
_FIRST, _MOST = 0.1, 5.0


def with_patience(
    action: Callable[[float], T],
    *,
    transient: Callable[[Exception], bool],
    what: str,
    deadline: float = DEADLINE,
    between: Callable[[], None] | None = None,
) -> T:
    """Return what `action` returns; it is told how many seconds are left.

    An exception that is `transient` is answered by waiting 0.1 s, then twice as long each time (at
    most 5 s), and trying again, `between` having been called (to connect anew, say; what it raises
    counts like the action's). Any other exception passes. Raises ServiceError, naming `what` and
    the last trouble, when the deadline is reached.
    """
    end = time.monotonic() + deadline
    pause, tries = _FIRST, 0
    while True:
        try:
            if tries and between:
                between()
            tries += 1
            return action(max(end - time.monotonic(), _FIRST))
        except Exception as error:
            if not transient(error):
                raise
            left = end - time.monotonic()
            if left <= pause:
                raise ServiceError(
                    f"{what} does not answer ({_kind(error)}; {tries} tries in {deadline:g} s); "
                    "is the server running, and is the address right?"
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, _MOST)


def _kind(error: Exception) -> str:
    # The text of a server's error may repeat what it was sent.
    code = getattr(error, "code", None)
    code = code() if callable(code) else code
    name = getattr(code, "name", code)
    return type(error).__name__ if name in (None, "") else f"{type(error).__name__} {name}"
