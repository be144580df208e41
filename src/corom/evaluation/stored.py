"""Retrieval by an index that is there already: in a folder or on a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from corom.corpus import CorpusChecksum
from corom.errors import InputError
from corom.evaluation.kept import Describing
from corom.evaluation.measure import Indexed
from corom.records import Hit, Passage, Query
from corom.search import Searcher

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.reranker import SecondPass
    from corom.stores import Store, WordStore


class Stored:
    """A finished index as a retriever; the passages it holds must be those of the data set."""

    def __init__(
        self,
        *,
        name: str,
        vectors: Store | None = None,
        words: WordStore | None = None,
        encoder: Encoder | None = None,
        second: SecondPass | None = None,
    ) -> None:
        """Take an index of vectors with its encoder, or an index of words.

        `second`: a reranker that reads the first hits; of an index of parts, the best of each text.
        """
        first = vectors if vectors is not None else words
        if first is None:
            raise InputError("nothing to evaluate: give an index")
        self.name, self._size, self._source = name, len(first), first.spec.source
        self._parts = first.spec.part_tokens > 0
        self._again = partial(Stored, vectors=vectors, words=words, encoder=encoder)
        self._searcher = Searcher(vectors, encoder=encoder, words=words, second=second)
        spec = first.spec
        self.settings: Describing = {
            "kind": spec.options.kind,
            "fingerprint": spec.fingerprint,
            "dim": spec.dim,
            "normalize": spec.normalized,
            "store": spec.vector_type,
            "part_tokens": spec.part_tokens,
            "whole_share": spec.whole_share,
            **({} if second is None else second.settings),
        }

    def with_second(self, second: SecondPass, *, name: str) -> Stored:
        """Return the same with a reranker behind it."""
        return self._again(name=name, second=second)

    def index(self, passages: Iterable[Passage]) -> Indexed:
        """Return the index; InputError if it was made of other passages than the data set's."""
        corpus = CorpusChecksum(passages)
        if corpus.passages != self._size and not self._parts:
            raise InputError(
                f"{self.name} holds {self._size:,} passages, the data set has "
                f"{corpus.passages:,}; make the index of this data set"
            )
        if corpus.hexdigest() != self._source:
            raise InputError(
                f"{self.name} was made of other passages than those of the data set (checksum "
                f"{self._source[:12] or 'none'}, not {corpus.hexdigest()[:12]}); make the index of "
                "this data set"
            )
        return Indexed(corpus.passages, self._search)

    def _search(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        found = self._searcher.run(queries, depth)
        return [found[query.id] for query in queries]
