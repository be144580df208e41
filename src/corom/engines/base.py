"""What every engine promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Literal, Protocol, TypeAlias
from weakref import WeakSet

import numpy as np

from corom.tokens import Batch, TokenIds, batches
from corom.vectors import Vectors

Precision: TypeAlias = Literal["auto", "int8", "bf16", "fp16", "fp32"]
EngineName: TypeAlias = Literal["auto", "native", "openvino", "torch"]
Part: TypeAlias = Literal["last two layers", "last layer", "last block"]
"""The end of a [CLS] encoder; the last block is the last layer's feed-forward block."""
LAYERS_OF: dict[Part, int] = {"last two layers": 2, "last layer": 1, "last block": 1}
"""How many layers from the top a part has, or has a piece of."""


class Engine(Protocol):
    """A model in memory: batches of token ids in, pooled vectors out (not normalised)."""

    name: str
    precision: str
    dim: int
    batch_tokens: int
    """The padded tokens of a batch at which throughput is best."""
    packs: bool
    """Whether padding costs nothing, so that texts of any lengths may meet in a batch."""

    def run(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute every batch and hand each to `receive` with its vectors, in any order."""


def encoded(
    engine: Engine,
    tokens: Sequence[TokenIds],
    *,
    longest: int,
    progress: Callable[[Batch], None] | None = None,
) -> Vectors:
    """Return the raw vectors of tokenised texts, (n, dim), in their order.

    `longest` is what the model reads; `progress` is told of every batch that is done.
    """
    vectors = np.empty((len(tokens), engine.dim), np.float32)

    def receive(batch: Batch, found: Vectors) -> None:
        vectors[batch.rows] = found
        if progress:
            progress(batch)

    work = batches(tokens, budget=engine.batch_tokens, longest=longest, packed=engine.packs)
    engine.run(list(work), receive)  # a list: the engine may choose by how long it is
    return vectors


class SharedBatches:
    """Batches that several threads take from, until one of them says that it is enough."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches, self._lock = iter(batches), Lock()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        with self._lock:
            return next(self._batches)

    def stop(self) -> None:
        """Let nobody take another one."""
        self._batches = iter(())


class Forked(Protocol):
    """Something with locks and threads, of which a forked process has copies nobody serves."""

    def renew(self) -> None:
        """Begin anew, in a process that was just forked."""


_KNOWN: WeakSet[Forked] = WeakSet()


def renew_when_forked(engine: Forked) -> None:
    """Have `engine.renew()` called in every process that is forked from this one."""
    _KNOWN.add(engine)


def _renew_all() -> None:
    for engine in list(_KNOWN):
        engine.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_renew_all)
