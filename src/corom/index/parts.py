"""Parts of long texts, on the way into an index.

The vector of a part may hold that of the whole text, by a share: its product with a query is then
the same mixture of both products, so that a text is found by its best part in the light of the
rest. The sum is not scaled to length 1: scaled it ranks worse than either (results/LOG.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from corom.records import Passage
from corom.splitting import Splitter
from corom.vectors import Vectors


class PartOf(NamedTuple):
    """A part, and what a model reads of the whole text: nothing if the part is all of it."""

    passage: Passage
    whole: str


def parts_of(passages: Iterable[Passage], splitter: Splitter | None) -> Iterator[PartOf]:
    """Yield the parts of each text in order; some thousand texts are in memory at once.

    Without a splitter each text is its own only part.
    """
    if splitter is None:
        yield from (PartOf(passage, "") for passage in passages)
        return
    waiting: deque[str] = deque()

    def noted() -> Iterator[Passage]:
        for passage in passages:
            waiting.append(passage.content)
            yield passage

    whole = ""
    for part in splitter.split(noted()):
        if part.is_first:
            whole = waiting.popleft()
        yield PartOf(part.passage, "" if part.is_whole else whole)


def blended(
    vectors: Vectors,
    wholes: Sequence[str],
    *,
    share: float,
    encode: Callable[[list[str]], Vectors],
) -> Vectors:
    """Return the vectors of parts, (n, dim), mixed with those of their whole texts."""
    texts = {text: row for row, text in enumerate(dict.fromkeys(filter(None, wholes)))}
    if not share or not texts:
        return vectors
    found = encode(list(texts))
    rows = np.array([texts.get(whole, -1) for whole in wholes])
    several = rows >= 0
    mixed = vectors.copy()
    mixed[several] = (1 - share) * vectors[several] + share * found[rows[several]]
    return mixed
