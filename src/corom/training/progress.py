"""What long work reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias


class Progress(NamedTuple):
    """A step of training; `dev` is set after an evaluation."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    texts_per_s: float
    dev: float | None


class Counted(NamedTuple):
    """How far work is that is counted before or beside the steps."""

    what: str
    """As "passages" while they are encoded, then "records"."""
    done: int
    total: int


Report: TypeAlias = Callable[[Progress | Counted], None]
