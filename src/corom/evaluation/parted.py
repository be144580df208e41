"""Retrieval by parts: long passages cut into shorter ones, each found by its best part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import Indexed
from corom.evaluation.reranked import Reranked
from corom.records import Hit, Passage, Query
from corom.reranker import SecondPass
from corom.search import best_documents
from corom.splitting import Splitter, document_of


class Parted:
    """A retriever that is given the parts of every passage."""

    def __init__(
        self,
        first: Retriever,
        splitter: Splitter,
        *,
        name: str | None = None,
        second: SecondPass | None = None,
    ) -> None:
        """`second`: a reranker that reads the best part of each text."""
        self.name = name or f"{first.name}, parts of {splitter.max_tokens}"
        self.first, self._splitter = first, splitter
        self._parts: Retriever = _BestParts(first)
        if second is not None:
            self._parts = Reranked(self._parts, second, name=self.name)
        self.settings: Describing = {
            **self._parts.settings,
            "part_tokens": splitter.max_tokens,
            "part_overlap": splitter.overlap,
        }

    def with_second(self, second: SecondPass, *, name: str) -> Parted:
        """Return the same with a reranker behind it."""
        return Parted(self.first, self._splitter, name=name, second=second)

    def index(self, passages: Iterable[Passage]) -> Indexed:
        """Return the index of the passages; for a reranker their texts are held in memory."""
        count = 0

        def counted() -> Iterator[Passage]:
            nonlocal count
            for passage in passages:
                count += 1
                yield passage

        index = self._parts.index(part.passage for part in self._splitter.split(counted()))

        def search(queries: Sequence[Query], depth: int) -> list[list[Hit]]:
            found = index.search(queries, depth)
            return [[hit._replace(id=document_of(hit.id)) for hit in hits] for hits in found]

        return Indexed(count, search)


class _BestParts:
    """Finds the best part of each text (MaxP; Dai and Callan, SIGIR 2019)."""

    def __init__(self, first: Retriever) -> None:
        self.first, self.name, self.settings = first, first.name, first.settings

    def index(self, passages: Iterable[Passage]) -> Indexed:
        index = self.first.index(passages)

        def search(queries: Sequence[Query], depth: int) -> list[list[Hit]]:
            def find(numbers: Sequence[int], depth: int) -> list[list[Hit]]:
                return index.search([queries[number] for number in numbers], depth)

            return best_documents(find, len(queries), depth)

        return Indexed(len(index), search)
