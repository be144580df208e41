"""A retriever whose scores a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from corom.ranking import rank_hits
from corom.records import Hit, Passage, Query


class Scored:
    """Ranks the passages by `score(query, passage)`, and finds none of which that is None."""

    def __init__(self, name: str, score: Callable[[Query, Passage], float | None]) -> None:
        self.name, self.settings, self.score = name, {"scored": name}, score
        self.passages: list[Passage] = []

    def index(self, passages: Iterable[Passage]) -> Scored:
        self.passages = list(passages)
        return self

    def __len__(self) -> int:
        return len(self.passages)

    def search(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        return [rank_hits(self._hits(query), depth) for query in queries]

    def _hits(self, query: Query) -> Iterable[Hit]:
        for passage in self.passages:
            if (score := self.score(query, passage)) is not None:
                yield Hit(passage.id, score)


def by_id(name: str, key: Callable[[str], float]) -> Scored:
    """Return a retriever that ranks by a number of the passage's id, whatever the query."""
    return Scored(name, lambda _, passage: key(passage.id))
