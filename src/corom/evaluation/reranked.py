"""Retrieval in two steps: what a retriever finds first, ranked anew by a cross-encoder.

Of an index of parts it reads the best part of each text, as `corom search` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import PassageIndex
from corom.evaluation.parted import Parted
from corom.evaluation.stored import Stored
from corom.records import Hit, Passage, Query
from corom.reranker import SecondPass


def reranked(first: Retriever, second: SecondPass) -> Retriever:
    """Return the retriever with a reranker behind it, as `NAME+RERANKER`."""
    name = f"{first.name}+{second.reranker.name}"
    if isinstance(first, (Parted, Stored)):
        return first.with_second(second, name=name)
    return Reranked(first, second, name=name)


class Reranked:
    """A retriever of passages whose first hits a reranker reads with the query."""

    def __init__(self, first: Retriever, second: SecondPass, *, name: str) -> None:
        self.first, self.second, self.name = first, second, name
        self.settings: Describing = {**first.settings, **second.settings}

    def index(self, passages: Iterable[Passage]) -> RerankedIndex:
        """Return the index of the passages; their texts are held in memory."""
        texts: dict[str, str] = {}

        def noted() -> Iterator[Passage]:
            for passage in passages:
                texts[passage.id] = passage.content
                yield passage

        return RerankedIndex(self.first.index(noted()), texts, self.second)


class RerankedIndex:
    """Passages that are found first and read then."""

    def __init__(self, index: PassageIndex, texts: dict[str, str], second: SecondPass) -> None:
        self._index, self._texts, self._second = index, texts, second

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        """Return up to `depth` passages of each query."""
        found = self._index.search(queries, max(depth, self._second.depth))
        ordered = self._second.reorder(
            [query.text for query in queries],
            found,
            texts=lambda ids: [self._texts[id_] for id_ in ids],
        )
        return [hits[:depth] for hits in ordered]
