"""Retrieval by words: BM25."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corom.evaluation.kept import Describing
from corom.evaluation.measure import Indexed
from corom.index import BM25Index, BM25Options
from corom.records import Hit, Passage, Query
from corom.words import Cut


class Lexical:
    """BM25 as a retriever; `corom.index.lexicon` states its formula."""

    def __init__(self, *, name: str = "bm25", cut: Cut = "words") -> None:
        self.name = name
        self._options = BM25Options(cut=cut)
        self.settings: Describing = {"k1": 1.2, "b": 0.75, "cut": cut}

    def index(self, passages: Iterable[Passage]) -> Indexed:
        """Return the index of the passages, in memory: found is what shares a word with a query."""
        index = BM25Index.new(self._options)
        index.add(list(passages))
        index.search([""], 1)  # counts the words now, not in the first search that is timed

        def search(queries: Sequence[Query], depth: int) -> list[list[Hit]]:
            return index.search((query.text for query in queries), depth)

        return Indexed(len(index), search)
