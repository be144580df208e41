"""Retrieval by vectors and words together: the rankings of two retrievers become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import Indexed, blocks
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

    def index(self, passages: Iterable[Passage]) -> Indexed:
        """Return both indexes of the passages, which are held in memory."""
        known = list(passages)
        both = self.vectors.index(known), self.words.index(known)

        def search(queries: Sequence[Query], depth: int) -> list[list[Hit]]:
            deep = max(depth, self.fusion.depth)
            found: list[list[Hit]] = []
            for block in blocks(queries, deep):
                runs = (index.search(block, deep) for index in both)
                found += [self.fusion.joined(*hits)[:depth] for hits in zip(*runs, strict=True)]
            return found

        return Indexed(len(known), search)
