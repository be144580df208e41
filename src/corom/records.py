"""The values that stages hand to each other.

Text enters as `Passage` and `Query`, labels as `Qrel`, and leaves as `Hit` lists, one per query:
a `Run`. Identifiers are strings everywhere; vectors are `(n, dim) float32` arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias


class Passage(NamedTuple):
    """A text that can be found."""

    id: str
    text: str
    title: str = ""
    fields: Mapping[str, str] = {}
    """columns kept besides, name -> value; never changed, as passages without any share one"""

    def __hash__(self) -> int:
        return hash(self[:3])

    @property
    def content(self) -> str:
        """What a model reads: title and text with a space between, as ModelScope joins them."""
        return f"{self.title} {self.text}".strip()


class Query(NamedTuple):
    """A text that is searched with."""

    id: str
    text: str


class Qrel(NamedTuple):
    """A judgement: how relevant a passage is to a query (0 = not, higher = more)."""

    query_id: str
    passage_id: str
    grade: int


class Hit(NamedTuple):
    """One ranked passage; a higher score is better."""

    id: str
    score: float


def hits_of(ids: Iterable[str], scores: Iterable[float]) -> list[Hit]:
    """Return one hit for each id and score; made for millions of them."""
    return list(map(Hit._make, zip(ids, scores, strict=True)))


Run: TypeAlias = Mapping[str, Sequence[Hit]]
"""Query id -> hits in rank order (score descending, then id ascending)."""
