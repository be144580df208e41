"""Retrieval by parts: long passages cut into shorter ones, each found by its best part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import PassageIndex
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
        self.first, self._splitter, self._second = first, splitter, second
        self.name = name or f"{first.name}, parts of {splitter.max_tokens}"
        self.settings: Describing = {
            **first.settings,
            "part_tokens": splitter.max_tokens,
            "part_overlap": splitter.overlap,
            **({} if second is None else second.settings),
        }

    def with_second(self, second: SecondPass, *, name: str) -> Parted:
        """Return the same with a reranker behind it."""
        return Parted(self.first, self._splitter, name=name, second=second)

    def index(self, passages: Iterable[Passage]) -> PartedIndex:
        """Return the index of the passages; for a reranker their texts are held in memory."""
        count = 0
        texts: dict[str, str] = {}

        def counted() -> Iterator[Passage]:
            nonlocal count
            for passage in passages:
                count += 1
                yield passage

        def parts() -> Iterator[Passage]:
            for part in self._splitter.split(counted()):
                if self._second is not None:
                    texts[part.passage.id] = part.passage.content
                yield part.passage

        index = self.first.index(parts())
        return PartedIndex(index, count, texts=texts, second=self._second)


class PartedIndex:
    """Passages by their best part (MaxP; Dai and Callan, SIGIR 2019)."""

    def __init__(
        self,
        index: PassageIndex,
        size: int,
        *,
        texts: Mapping[str, str],
        second: SecondPass | None,
    ) -> None:
        self._index, self._size = index, size
        self._texts, self._second = texts, second

    def __len__(self) -> int:
        return self._size

    def search(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        """Return up to `depth` passages of each query."""

        def find(some: Sequence[int], depth: int) -> list[list[Hit]]:
            return self._index.search([queries[number] for number in some], depth)

        first = depth if self._second is None else max(depth, self._second.depth)
        found = best_documents(find, len(queries), first)
        if self._second is not None:
            found = self._second.reorder(
                [query.text for query in queries],
                found,
                texts=lambda ids: [self._texts[id_] for id_ in ids],
            )
        return [[hit._replace(id=document_of(hit.id)) for hit in hits[:depth]] for hits in found]
