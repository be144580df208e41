"""What an index can be asked, whichever server or folder keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from corom.index.spec import IndexSpec
from corom.records import Hit, Passage
from corom.vectors import Vectors

Queries = TypeVar("Queries", contravariant=True)


class Searched(Protocol[Queries]):
    """Passages that are searched with such queries."""

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""

    def __len__(self) -> int:
        """Return how many passages there are."""

    def search(self, queries: Queries, k: int) -> list[list[Hit]]:
        """Return up to `k` passages of each query, best first, by the one ranking rule."""

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return passages with their texts; InputError for an id that is not there."""


Store: TypeAlias = Searched[Vectors]
WordStore: TypeAlias = Searched[Iterable[str]]
