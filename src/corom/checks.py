"""What a value must be, with one message for it wherever it comes from."""

from __future__ import annotations

from collections.abc import Collection

from corom.errors import InputError


def require_whole(name: str, value: object, *, low: int = 1, high: int | None = None) -> None:
    """Raise InputError unless `value` is a whole number (no bool) from `low` to `high`."""
    if type(value) is not int or value < low or (high is not None and value > high):
        wanted = f"from {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{name} is {value!r}; it must be a whole number {wanted}")


def require_one_of(name: str, value: object, known: Collection[str]) -> None:
    """Raise InputError unless `value` is one of the known words."""
    if value not in known:
        raise InputError(f"{name} {value!r} is none of {', '.join(known)}")
