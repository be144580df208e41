"""Vectors in, scores out; a query and passages in, a ranking out.

| score | of vectors a and b | better | range |
|---|---|---|---|
| `dot` | a · b, what CoROM is trained and ranked with | higher | any; the cosine for unit vectors |
| `cosine` | a · b / (length of a × length of b) | higher | -1 to 1 |
| `l2` | the length of a - b | lower | 0 upwards |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from numbers import Real
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from corom.checks import require_one_of
from corom.encoder import Encoder
from corom.errors import InputError
from corom.ranking import IdKey, id_key, rank_hits
from corom.records import Hit, Passage, hits_of
from corom.vectors import Vectors, cosines, normalized

Score: TypeAlias = Literal["dot", "cosine", "l2"]

MOST_PAIRS = 1_000_000
# Scores in memory at once: 64 MB.
_BLOCK, _TOLERANCE = 1 << 24, 1e-6


class ClosePairs(NamedTuple):
    """Rows that are close to each other: `(n, 2) int64`, the lower first, and `(n,) float32`."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def score_matrix(left: Vectors, right: Vectors, *, score: Score = "dot") -> NDArray[np.float32]:
    """Return the score of every row of `left` with every row of `right`, (n, m) float32.

    Raises InputError for an unknown score or vectors of different lengths.
    """
    _check(left, right, score)
    if score == "cosine":
        left, right = normalized(left), normalized(right)
    if score != "l2":
        # One row ranks the others: of a matrix product equal ones may differ in the last bits.
        one = len(left) == 1
        products: NDArray[np.float32] = np.vecdot(left, right)[None] if one else left @ right.T
        return products
    # |a - b|² = |a|² + |b|² - 2 a·b cancels where a and b are close: hence in double precision.
    a, b = left.astype(np.float64), right.astype(np.float64)
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * (a @ b.T)
    distances: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
    return distances


def score_pairs(left: Vectors, right: Vectors, *, score: Score = "dot") -> NDArray[np.float32]:
    """Return the score of each row of `left` with the same row of `right`, (n,) float32."""
    _check(left, right, score)
    if len(left) != len(right):
        raise InputError(f"pairs need as many left as right vectors, not {len(left)}, {len(right)}")
    if score == "l2":
        distances: NDArray[np.float32] = np.linalg.norm(left - right, axis=1)
        return distances
    if score == "cosine":
        return cosines(left, right)
    products: NDArray[np.float32] = np.einsum("nd,nd->n", left, right)
    return products


def close_pairs(
    vectors: Vectors, *, above: float, score: Score = "cosine", most: int = MOST_PAIRS
) -> ClosePairs:
    """Return every two rows of `vectors` whose score is at least `above`, the closest first.

    Near-duplicates of a list of questions, say. Compares all with all, n² · dim / 2 operations
    (some minutes for 100,000 texts), block by block in some 200 MB besides the pairs found. A
    millionth below `above` still counts, as much as float32 products of equal vectors differ by.
    Raises InputError for more pairs than `most`, what `check_above` refuses, and NaN.
    """
    check_above(above, score=score)
    _check(vectors, vectors, score)
    if not np.isfinite(vectors).all():
        raise InputError("a vector holds NaN or infinity")
    if score == "cosine":
        vectors = normalized(vectors)
    rows: list[NDArray[np.int64]] = []
    scores: list[NDArray[np.float32]] = []
    found, size = 0, max(1, _BLOCK // max(1, len(vectors)))
    for start in range(0, len(vectors), size):
        block = vectors[start : start + size] @ vectors[start:].T
        # Each two once, and none with itself.
        block[np.tri(*block.shape, dtype=np.bool_)] = -np.inf
        if score == "cosine":
            np.minimum(block, 1, out=block)
        close = block >= above - _TOLERANCE * max(1, abs(above))
        found += int(np.count_nonzero(close))
        if found > most:
            raise InputError(f"more than {most:,} pairs score {above} or more; set above higher")
        here = np.argwhere(close)
        rows.append(here + start)
        scores.append(block[here[:, 0], here[:, 1]])
    pairs = np.concatenate(rows) if rows else np.empty((0, 2), np.int64)
    values = np.concatenate(scores) if scores else np.empty(0, np.float32)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -values))
    return ClosePairs(pairs[order], values[order])


def group_pairs(pairs: ClosePairs, ids: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return groups of ids that pairs connect, directly or through others, the largest first.

    `ids` are, for each row that was compared, those of the texts it stands for: equal ones, which
    need not be compared, are in one group. Of each group first who has most neighbours, then by
    id; of groups of one size first the one whose first id is.
    """
    if any(isinstance(same, str) for same in ids):
        raise InputError("ids are lists: of each row those of all texts it stands for")
    if pairs.rows.max(initial=-1) >= len(ids):
        raise InputError(f"{len(ids)} lists of ids are fewer than the rows that were compared")
    counts = np.array([len(same) for same in ids], np.int64)
    neighbours = counts - 1
    leader = list(range(len(ids)))
    for left, right in pairs.rows.tolist():
        neighbours[left] += counts[right]
        neighbours[right] += counts[left]
        leader[_leader(leader, left)] = _leader(leader, right)
    groups: defaultdict[int, list[tuple[int, IdKey, str]]] = defaultdict(list)
    for row in np.flatnonzero(neighbours).tolist():
        members = ((-int(neighbours[row]), id_key(id_), id_) for id_ in ids[row])
        groups[_leader(leader, row)] += members
    found = [[member[-1] for member in sorted(group)] for group in groups.values()]
    return sorted(found, key=lambda group: (-len(group), id_key(group[0])))


def _leader(leader: list[int], row: int) -> int:
    """Return who stands for the group of a row, and shorten the way there."""
    while leader[row] != row:
        leader[row] = leader[leader[row]]
        row = leader[row]
    return row


def check_above(above: float, *, score: Score) -> None:
    """Raise InputError for what `close_pairs` cannot look for: no number, l2, a cosine over 1."""
    if score == "l2":
        raise InputError("score 'l2' is lower where texts are closer; use cosine or dot")
    if isinstance(above, bool) or not isinstance(above, Real) or not isfinite(above):
        raise InputError(f"above is {above!r}; it must be a finite number")
    if score == "cosine" and above > 1:
        raise InputError(f"above is {above}; a cosine is at most 1")


def rank_passages(
    encoder: Encoder, query: str, passages: Iterable[Passage], *, k: int | None = None
) -> list[Hit]:
    """Return the `k` (default: all) passages most like `query`, best first, scored by `dot`.

    For a handful up to some ten thousand passages; for more make an index. Ids must be unique.
    """
    ids: list[str] = []

    def texts() -> Iterator[str]:
        for passage in passages:
            if not isinstance(passage, Passage):
                raise InputError(f"passages are Passage(id, text), not {type(passage).__name__}")
            ids.append(passage.id)
            yield passage.content

    vectors = encoder.encode_passages(texts())
    scores = score_matrix(encoder.encode_queries([query]), vectors)[0]
    return rank_hits(hits_of(ids, scores.tolist()), k)


def _check(left: Vectors, right: Vectors, score: Score) -> None:
    require_one_of("score", score, get_args(Score))
    for vectors in (left, right):
        if not isinstance(vectors, np.ndarray):
            raise InputError(f"vectors must be an (n, dim) array, not {type(vectors).__name__}")
        if vectors.ndim != 2:
            raise InputError(f"vectors must be (n, dim), not of shape {vectors.shape}")
    if left.shape[1] != right.shape[1]:
        raise InputError(f"vectors of {left.shape[1]} and {right.shape[1]} numbers do not compare")
