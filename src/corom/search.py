"""Search: queries in, ranked passages with their texts out; by meaning, by words, or by both.

Both together (hybrid) is off unless a `Fusion` is given. On Chinese medical text reciprocal ranks
do worse than vectors alone; so scores are summed, those of vectors counting 0.8, as two dev sets
chose (docs/indexes.md has the figures).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar

from corom.checks import require_one_of, require_whole
from corom.errors import ArtifactError, InputError
from corom.ranking import fuse_rrf, fuse_weighted, rank_hits, require_unique
from corom.records import Hit, Passage, Query, Run
from corom.splitting import document_of
from corom.text import check_texts
from corom.vectors import Vectors

if TYPE_CHECKING:
    from corom.index import Where
    from corom.reranker import SecondPass
    from corom.stores import Store, WordStore

AnyIndex = TypeVar("AnyIndex", "Store", "WordStore")

# How many parts of one text are expected among the first hits; the hits held at once.
_PARTS, _HITS = 4, 1 << 20


class QueryEncoder(Protocol):
    """What turns queries into vectors: `corom.encoder.Encoder`, or anything like it."""

    @property
    def fingerprint(self) -> str:
        """What an index of its vectors was made with."""

    @property
    def dim(self) -> int:
        """Numbers per vector."""

    def encode_queries(
        self, texts: list[str], *, normalize: bool | None, truncate_dim: int | None
    ) -> Vectors:
        """Return one vector per text."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How a ranking by vectors and one by words become one."""

    method: Literal["rrf", "weighted"] = "weighted"
    vectors: float = 0.8
    """weight of the ranking by vectors, if weighted; the one by words gets the rest"""
    depth: int = 1000
    """hits taken from each"""

    def __post_init__(self) -> None:
        require_one_of("method", self.method, ("rrf", "weighted"))
        if not 0 <= self.vectors <= 1:
            raise InputError(f"the weight of vectors is {self.vectors!r}; it must be from 0 to 1")
        require_whole("depth", self.depth)

    def joined(self, by_vectors: list[Hit], by_words: list[Hit]) -> list[Hit]:
        """Return the one ranking of a query's two."""
        runs: list[Run] = [{"": by_vectors}, {"": by_words}]
        if self.method == "rrf":
            return fuse_rrf(runs)[""]
        return fuse_weighted(runs, [self.vectors, 1 - self.vectors])[""]


class FoundPassage(NamedTuple):
    """A hit with the passage's texts; a higher score is better."""

    id: str
    score: float
    text: str
    title: str
    fields: Mapping[str, str] = {}
    """the columns that the index keeps; never changed"""

    @classmethod
    def of(cls, hit: Hit, passage: Passage) -> FoundPassage:
        """Return a hit with the texts of its passage."""
        return cls(hit.id, hit.score, passage.text, passage.title, passage.fields)


class Searcher:
    """Searches an index of vectors, an index of words, or both."""

    def __init__(
        self,
        vectors: Store | None = None,
        *,
        encoder: QueryEncoder | None = None,
        words: WordStore | None = None,
        fusion: Fusion | None = None,
        second: SecondPass | None = None,
    ) -> None:
        """An index of vectors needs the `encoder` it was made with, both indexes a `fusion`.

        `second`: a reranker that reads the first hits, whose scores it changes.
        An index is one of `open_index`, of a server (`corom.stores`), or anything like them.
        Raises InputError for another combination, ArtifactError for another encoder.
        """
        if (vectors is None) != (encoder is None):
            raise InputError("an index of vectors and an encoder need each other; give both")
        if (vectors is not None and words is not None) != (fusion is not None):
            raise InputError("fusion is for an index of vectors and one of words: give all three")
        if vectors is not None and encoder is not None:
            require_same(vectors, encoder)
        first = vectors if vectors is not None else words
        if first is None:
            raise InputError("nothing to search in: give an index")
        self._first = first
        self._vectors, self._encoder, self._words = vectors, encoder, words
        self._fusion, self._second = fusion, second

    def only(self, where: Iterable[Where]) -> Searcher:
        """Return what searches the passages that match every filter.

        Raises InputError for a column that an index does not keep; one on a server keeps none.
        """
        where, found = list(where), copy(self)
        found._vectors = None if self._vectors is None else _only(self._vectors, where)
        found._words = None if self._words is None else _only(self._words, where)
        return found

    def search(
        self, queries: Iterable[str], k: int = 10, *, by_document: bool | None = None
    ) -> list[list[FoundPassage]]:
        """Return the best `k` passages of each query with their texts, best first.

        `by_document`: of passages that are parts of one text (`corom.splitting`) only the best,
        which is what a reranker reads, too; None: if the index was made of parts.
        """
        found = self._hits(list(check_texts(queries)), k, by_document)
        return [self._with_texts(hits) for hits in found]

    def run(
        self, queries: Iterable[Query], k: int = 1000, *, by_document: bool | None = None
    ) -> dict[str, list[Hit]]:
        """Return the best `k` hits of each query by its id; InputError if an id occurs twice.

        `by_document`: the hits are whole texts with the score of their best part (MaxP; Dai and
        Callan, SIGIR 2019).
        """
        asked = list(queries)
        ids = [query.id for query in asked]
        require_unique(ids)
        hits = self._hits(list(check_texts(query.text for query in asked)), k, by_document)
        if self._once(by_document):
            hits = [[hit._replace(id=document_of(hit.id)) for hit in each] for each in hits]
        return dict(zip(ids, hits, strict=True))

    def _once(self, by_document: bool | None) -> bool:
        return self._first.spec.part_tokens > 0 if by_document is None else by_document

    def _hits(self, texts: list[str], k: int, by_document: bool | None) -> list[list[Hit]]:
        require_whole("k", k)
        depth = k if self._second is None else max(k, self._second.depth)
        if self._once(by_document):
            found = best_documents(partial(self._found_some, texts), len(texts), depth)
        else:
            found = self._found(texts, depth)
        if self._second is not None:
            found = self._second.reorder(texts, found, texts=self._contents)
        return [hits[:k] for hits in found]

    def _found_some(self, texts: list[str], some: Sequence[int], k: int) -> list[list[Hit]]:
        return self._found([texts[number] for number in some], k)

    def _contents(self, ids: Sequence[str]) -> list[str]:
        return [passage.content for passage in self._first.passages(list(ids))]

    def _found(self, texts: list[str], k: int) -> list[list[Hit]]:
        if self._fusion is None:
            return self._by_words(texts, k) if self._vectors is None else self._by_vectors(texts, k)
        depth = max(self._fusion.depth, k)
        found = zip(self._by_vectors(texts, depth), self._by_words(texts, depth), strict=True)
        return [self._fusion.joined(*both)[:k] for both in found]

    def _by_vectors(self, texts: list[str], k: int) -> list[list[Hit]]:
        if self._vectors is None or self._encoder is None:
            return [[] for _ in texts]
        spec = self._vectors.spec
        queries = self._encoder.encode_queries(
            texts, normalize=spec.normalized, truncate_dim=spec.dim
        )
        return self._vectors.search(queries, k)

    def _by_words(self, texts: list[str], k: int) -> list[list[Hit]]:
        return [[] for _ in texts] if self._words is None else self._words.search(texts, k)

    def _with_texts(self, hits: list[Hit]) -> list[FoundPassage]:
        passages = self._first.passages([hit.id for hit in hits])
        return list(map(FoundPassage.of, hits, passages))


def best_parts(hits: Iterable[Hit]) -> list[Hit]:
    """Return, of ranked hits that are parts of one text, only the first.

    Of equal scores the text with the lower id comes first.
    """
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(document_of(hit.id), hit)
    texts = rank_hits(Hit(id_, hit.score) for id_, hit in first.items())
    return [first[text.id] for text in texts]


def best_documents(
    find: Callable[[Sequence[int], int], list[list[Hit]]], queries: int, k: int
) -> list[list[Hit]]:
    """Return the best part of each of the best `k` texts, for each of so many queries.

    `find` gives the first hits, so many, of the queries with these numbers. It is asked for more
    of those whose first hits do not decide which texts are the best.
    """
    found: list[list[Hit]] = [[] for _ in range(queries)]
    left, depth = list(range(queries)), _PARTS * k
    while left:
        undecided: list[int] = []
        size = max(1, _HITS // depth)
        for some in (left[start : start + size] for start in range(0, len(left), size)):
            for number, hits in zip(some, find(some, depth), strict=True):
                best = best_parts(hits)
                found[number] = best[:k]
                decided = len(best) >= k and best[k - 1].score > hits[-1].score
                if len(hits) == depth and not decided:
                    undecided.append(number)
        left, depth = undecided, depth * _PARTS
    return found


def _only(index: AnyIndex, where: list[Where]) -> AnyIndex:
    from corom.index import BM25Index, VectorIndex

    if not isinstance(index, VectorIndex | BM25Index):
        raise InputError("a filter is for an index in a folder; one on a server keeps no columns")
    return index.only(where)


def require_same(index: Store, encoder: QueryEncoder) -> None:
    """Raise ArtifactError unless the index was made with this encoder."""
    spec = index.spec
    if spec.fingerprint != encoder.fingerprint:
        raise ArtifactError(
            f"the index was made with the encoder {spec.fingerprint!r} ({spec.model or 'unnamed'}),"
            f" not with {encoder.fingerprint!r}; use that one, with the max_length it had then, or "
            "make the index again"
        )
    if spec.dim > encoder.dim:
        raise ArtifactError(f"the index has dim {spec.dim}, the encoder has {encoder.dim}")
