"""Retrieval in two steps: what a retriever finds first, ranked anew by a cross-encoder.

Of an index of parts it reads the best part of each text, as `corom search` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import Indexed
from corom.records import Hit, Passage, Query
from corom.reranker import SecondPass


@runtime_checkable
class ReadByItself(Protocol):
    """A retriever that says itself what a reranker reads of its hits."""

    def with_second(self, second: SecondPass, *, name: str) -> Retriever:
        """Return the same with a reranker behind it."""


def reranked(first: Retriever, second: SecondPass) -> Retriever:
    """Return the retriever with a reranker behind it, as `NAME+RERANKER`."""
    name = f"{first.name}+{second.reranker.name}"
    if isinstance(first, ReadByItself):
        return first.with_second(second, name=name)
    return Reranked(first, second, name=name)


class Reranked:
    """A retriever of passages whose first hits a reranker reads with the query."""

    def __init__(self, first: Retriever, second: SecondPass, *, name: str) -> None:
        self.first, self.second, self.name = first, second, name
        self.settings: Describing = {**first.settings, **second.settings}

    def index(self, passages: Iterable[Passage]) -> Indexed:
        """Return the index of the passages; their texts are held in memory."""
        texts: dict[str, str] = {}

        def noted() -> Iterator[Passage]:
            for passage in passages:
                texts[passage.id] = passage.content
                yield passage

        index = self.first.index(noted())

        def search(queries: Sequence[Query], depth: int) -> list[list[Hit]]:
            found = self.second.reorder(
                [query.text for query in queries],
                index.search(queries, max(depth, self.second.depth)),
                texts=lambda ids: [texts[id_] for id_ in ids],
            )
            return [hits[:depth] for hits in found]

        return Indexed(len(index), search)
