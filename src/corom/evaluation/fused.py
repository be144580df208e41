"""Retrieval by vectors and words together: the rankings of two retrievers become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import PassageIndex, blocks
from corom.records import Hit, Passage, Query
from corom.search import Fusion


class Fused:
    """A retriever by vectors and one by words, fused as by a `Searcher`: `NAME+WORDS@WEIGHT`."""

    def __init__(self, vectors: Retriever, words: Retriever, fusion: Fusion) -> None:
        self.vectors, self.words, self.fusion = vectors, words, fusion
        self.name = f"{vectors.name}+{words.name}@{fusion.vectors:g}"
        self.settings: Describing = {
            **vectors.settings,
            **words.settings,
            "fusion": fusion.method,
            "fusion_vectors": fusion.vectors,
            "fusion_depth": fusion.depth,
        }

    def index(self, passages: Iterable[Passage]) -> FusedIndex:
        """Return both indexes of the passages, which are held in memory."""
        known = list(passages)
        return FusedIndex(self.vectors.index(known), self.words.index(known), self.fusion)


class FusedIndex:
    """Passages by their vectors and their words."""

    def __init__(self, vectors: PassageIndex, words: PassageIndex, fusion: Fusion) -> None:
        self._vectors, self._words, self._fusion = vectors, words, fusion

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        """Return up to `depth` passages of each query."""
        deep = max(depth, self._fusion.depth)
        found: list[list[Hit]] = []
        for block in blocks(queries, deep):
            runs = (index.search(block, deep) for index in (self._vectors, self._words))
            found += [self._fusion.joined(*both)[:depth] for both in zip(*runs, strict=True)]
        return found
