"""What `bench_search.py` measures of BM25: corom's index, on disk, and bm25s.

Both get the same words, cut by rjieba as `corom.words` cuts them, and cutting is part of building
and of searching.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias, cast

from corom.index import BM25Index, BM25Options, IndexSpec, open_index
from corom.index.building import build_index
from corom.records import Passage
from corom.words import Cut, segment

Search: TypeAlias = Callable[[list[str], int], object]


def corom(cut: Cut) -> Callable[[Sequence[Passage], Path], Search]:
    """Return what makes corom's index of words in a folder, as `corom index` does."""

    def build(passages: Sequence[Passage], folder: Path) -> Search:
        build_index(folder, passages, spec=IndexSpec(options=BM25Options(cut=cut)))
        return cast(BM25Index, open_index(folder)).search

    return build


def bm25s(passages: Sequence[Passage], folder: Path) -> Search:
    """Return bm25s' search, with Lucene's formula, of an index it saved and maps."""
    import bm25s as library

    index = library.BM25(method="lucene", k1=1.2, b=0.75)
    words = [segment(passage.content) for passage in passages]
    index.index(words, show_progress=False)
    index.save(str(folder))
    index = library.BM25.load(str(folder), mmap=True)

    def search(texts: list[str], k: int) -> object:
        asked = [segment(text) for text in texts]
        return index.retrieve(
            asked, k=min(k, len(passages)), n_threads=os.cpu_count(), show_progress=False
        )

    return search


WORDS: dict[str, Callable[[Sequence[Passage], Path], Search]] = {
    "corom, words": corom("words"),
    "corom, bigrams": corom("bigrams"),
    "bm25s, words": bm25s,
}
