"""Retrieval in two steps: what a retriever finds first, ranked anew by a cross-encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from corom.errors import InputError
from corom.evaluation.evaluate import Retriever
from corom.evaluation.kept import Describing
from corom.evaluation.measure import PassageIndex
from corom.ranking import fuse_weighted
from corom.records import Hit, Passage, Query
from corom.reranker import Reranker

DEPTH = 50
SHARE = 0.5


class Reranked:
    """A retriever whose first `depth` passages a reranker reads with the query.

    Within them both scores count, stretched to 0..1 per query: the reranker's by `share`, the
    retriever's by the rest (`fuse_weighted`). What comes after them stays after them.
    """

    def __init__(
        self,
        first: Retriever,
        reranker: Reranker,
        *,
        depth: int = DEPTH,
        share: float = SHARE,
        name: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        if type(depth) is not int or depth < 1:
            raise InputError(f"rerank depth is {depth!r}; ask for at least 1")
        if not 0 < share <= 1:
            raise InputError(f"the reranker's share is {share}; expected more than 0, at most 1")
        self.first, self.reranker, self.depth, self.share = first, reranker, depth, share
        self.name = name or f"{first.name}+{reranker.name}"
        self.settings: Describing = {
            "first": first.name,
            **first.settings,
            "reranker": reranker.fingerprint,
            "reranker_precision": reranker.precision,
            "rerank_depth": depth,
            "rerank_share": share,
        }
        self._progress = progress

    def index(self, passages: Iterable[Passage]) -> RerankedIndex:
        """Return the index of the passages; their texts are held in memory."""
        texts: dict[str, str] = {}

        def noted() -> Iterator[Passage]:
            for passage in passages:
                texts[passage.id] = passage.content
                yield passage

        return RerankedIndex(self.first.index(noted()), texts, self)


class RerankedIndex:
    """Passages that are found first and read then."""

    def __init__(self, index: PassageIndex, texts: dict[str, str], how: Reranked) -> None:
        self._index, self._texts, self._how = index, texts, how

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        """Return up to `depth` passages of each query."""
        how = self._how
        found = self._index.search(queries, max(depth, how.depth))
        heads = [hits[: how.depth] for hits in found]
        pairs = [
            (query.text, self._texts[hit.id])
            for query, hits in zip(queries, heads, strict=True)
            for hit in hits
        ]
        scores = iter(how.reranker.score([q for q, _ in pairs], [p for _, p in pairs]).tolist())
        return [
            self._joined(hits[: how.depth], hits[how.depth :], scores)[:depth] for hits in found
        ]

    def _joined(
        self, head: Sequence[Hit], tail: Sequence[Hit], scores: Iterator[float]
    ) -> list[Hit]:
        """Return the head in its new order; the tail below it, as far apart as before."""
        if not head:
            return []
        read = [Hit(hit.id, score) for hit, score in zip(head, scores, strict=False)]
        share = self._how.share
        fused = fuse_weighted([{"": head}, {"": read}], [1 - share, share])[""]
        below = [Hit(hit.id, hit.score - tail[0].score - 1) for hit in tail]
        return [*fused, *below]
