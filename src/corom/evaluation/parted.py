"""Retrieval by parts: long passages cut into shorter ones, each found by its best part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import PassageIndex
from corom.records import Hit, Passage, Query
from corom.search import best_documents
from corom.splitting import Splitter, document_of


class Parted:
    """A retriever that is given the parts of every passage."""

    def __init__(self, first: Retriever, splitter: Splitter, *, name: str | None = None) -> None:
        self.first, self._splitter = first, splitter
        self.name = name or f"{first.name}, parts of {splitter.max_tokens}"
        self.settings: Describing = {
            **first.settings,
            "part_tokens": splitter.max_tokens,
            "part_overlap": splitter.overlap,
        }

    def index(self, passages: Iterable[Passage]) -> PartedIndex:
        """Return the index of the passages."""
        count = 0

        def counted() -> Iterator[Passage]:
            nonlocal count
            for passage in passages:
                count += 1
                yield passage

        parts = (part.passage for part in self._splitter.split(counted()))
        return PartedIndex(self.first.index(parts), count)


class PartedIndex:
    """Passages by their best part (MaxP; Dai and Callan, SIGIR 2019)."""

    def __init__(self, index: PassageIndex, size: int) -> None:
        self._index, self._size = index, size

    def __len__(self) -> int:
        return self._size

    def search(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        """Return up to `depth` passages of each query."""

        def find(some: Sequence[int], depth: int) -> list[list[Hit]]:
            return self._index.search([queries[number] for number in some], depth)

        found = best_documents(find, len(queries), depth)
        return [[hit._replace(id=document_of(hit.id)) for hit in hits] for hits in found]
