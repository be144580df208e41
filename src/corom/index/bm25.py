"""The index of words: BM25 behind the same methods as the indexes of vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np

from corom.checks import require_whole
from corom.engines.processor import available_threads
from corom.errors import InputError
from corom.index.base import BaseIndex
from corom.index.collection import Collection
from corom.index.lexicon import Found, Lexicon
from corom.index.segments import make_segment
from corom.index.spec import BM25Options, IndexSpec
from corom.index.where import Where
from corom.ranking import top_k
from corom.records import Hit, Passage, hits_of
from corom.text import check_texts


class BM25Index(BaseIndex):
    """Passages found by the words they share with a query; `lexicon` states the formula.

    A passage without any word of the query is not found, so there may be fewer than k hits.
    """

    def __init__(self, collection: Collection, *, lexicon: Path | None = None) -> None:
        """For `open_index`; use `BM25Index.new` to begin one in memory."""
        options = collection.spec.options
        if not isinstance(options, BM25Options):
            raise InputError(f"options are those of {options.kind}; use VectorIndex")
        super().__init__(collection)
        self._cut = options.cut
        self._lexicon = None if lexicon is None else Lexicon.open(lexicon, cut=self._cut)

    @classmethod
    def new(cls, options: BM25Options | None = None, *, keep: Sequence[str] = ()) -> BM25Index:
        """Return an empty index in memory; `options` default to words cut by rjieba.

        `keep` names the fields that passages may have.
        """
        return cls(Collection(IndexSpec(options=options or BM25Options(), keep=keep)))

    def add(self, passages: Sequence[Passage]) -> None:
        """Add passages, title and text, to the index in memory; InputError for ids as ever."""
        if len(passages):
            self.collection.append(make_segment(tuple(passages), None, spec=self.spec))
            self._lexicon = None

    def remove(self, ids: Sequence[str]) -> None:
        """Remove passages; InputError for an id that is not there."""
        super().remove(ids)
        self._lexicon = None

    def only(self, where: Iterable[Where]) -> Self:
        """Return the index of the passages that match every filter, to be searched.

        Their scores are those they have among all. InputError for a column that is not kept.
        """
        self._counted()
        found = copy(self)
        found.collection = self.collection.only(where)
        return found

    def search(self, queries: Iterable[str], k: int) -> list[list[Hit]]:
        """Return up to `k` passages for each query, best first.

        After `add` or `remove` the first search counts all words again.
        """
        require_whole("k", k)
        texts = list(check_texts(queries))
        lexicon, alive = self._counted(), self.collection.alive

        def hits(text: str) -> list[Hit]:
            return self._hits(lexicon.search(text, k, alive=alive), k)

        if len(texts) < 2:  # starting a thread takes as long as a query
            return [hits(text) for text in texts]
        with ThreadPoolExecutor(available_threads()) as pool:
            return list(pool.map(hits, texts))

    def _counted(self) -> Lexicon:
        if self._lexicon is None:
            self._lexicon = Lexicon.build(self.collection, cut=self._cut)
        return self._lexicon

    def _hits(self, found: Found, k: int) -> list[Hit]:
        ranks = self.collection.ranks
        tie = found.rows if ranks is None else ranks[found.rows].astype(np.int64)
        best = top_k(found.scores[None], k, ranks=tie)
        ids = self.collection.ids(found.rows[best.positions[0]])
        return hits_of(ids, best.scores[0].tolist())
