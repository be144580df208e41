"""A Dense behind any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corom.engines.base import Engine
from corom.models.dense import Dense
from corom.tokens import Batch
from corom.vectors import Vectors


class Projected:
    """An engine whose vectors go through a Dense, in float32, whatever the engine computes in."""

    def __init__(self, engine: Engine, dense: Dense) -> None:
        self._engine, self._dense, self.dim = engine, dense, dense.dim
        self.name, self.precision = engine.name, engine.precision
        self.batch_tokens, self.packs = engine.batch_tokens, engine.packs

    def run(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute every batch and hand each to `receive` with its vectors, in any order."""
        self._engine.run(
            batches, lambda batch, vectors: receive(batch, self._dense.applied(vectors))
        )


def projected(engine: Engine, dense: Dense | None) -> Engine:
    """Return the engine with the Dense behind it, if there is one."""
    return engine if dense is None else Projected(engine, dense)
