"""What an index on a server can be asked, whichever server it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from corom.index.spec import IndexSpec
from corom.records import Hit, Passage
from corom.vectors import Vectors


class Store(Protocol):
    """Vectors that are searched on a server."""

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""

    def __len__(self) -> int:
        """Return how many passages there are."""

    def search(self, queries: Vectors, k: int) -> list[list[Hit]]:
        """Return the best `k` passages of each query, best first, by the one ranking rule."""

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return passages with their texts; InputError for an id that is not there."""


class WordStore(Protocol):
    """Words that are searched on a server."""

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""

    def __len__(self) -> int:
        """Return how many passages there are."""

    def search(self, queries: Iterable[str], k: int) -> list[list[Hit]]:
        """Return up to `k` passages of each query, best first, by the one ranking rule."""

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return passages with their texts; InputError for an id that is not there."""
