"""The rows of an index: which passages there are, in which order of id, and which were removed.

A row is a passage's place in the order of adding, over all segments. Removing leaves the row
where it is and marks it. Positions in a `TopK` of an index are rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import InputError
from corom.index.columns import Column, columns_of
from corom.index.segments import Segment
from corom.index.spec import IndexSpec
from corom.index.where import Where, matching
from corom.ranking import id_key, occurs_twice, order_encoded_ids
from corom.records import Passage

MAX_ROWS = 2**32 - 1
Part: TypeAlias = Literal["ids", "vectors", "codes", "scales"]


class Collection:
    """The passages of one index; changing it is for one thread at a time.

    Nothing is changed in place: what `only` made of it before stays as it was.
    """

    def __init__(
        self,
        spec: IndexSpec,
        segments: Iterable[Segment] = (),
        *,
        removed: NDArray[np.int64] | None = None,
        ranks: NDArray[np.uint32] | None = None,
        columns: Sequence[Column] | None = None,
        settled: bool = False,
    ) -> None:
        """`settled`: the order of ids is known: that of `ranks`, or of the rows when None."""
        self.spec = spec
        self.segments = list(segments)
        self._starts = np.cumsum([0, *(len(segment.ids) for segment in self.segments)])
        self.alive = np.ones(self.rows, dtype=bool)
        if removed is not None:
            self.alive[removed] = False
        self._ranks, self._settled = ranks, settled
        self._order: NDArray[np.int64] | None = None
        self._hashes: NDArray[np.int64] | None = None
        self._columns = columns
        self._unfiltered: NDArray[np.bool_] | None = None

    @property
    def rows(self) -> int:
        """Rows, removed ones included."""
        return int(self._starts[-1])

    def __len__(self) -> int:
        return int(np.count_nonzero(self.alive))

    def placed(self) -> Iterator[tuple[int, Segment]]:
        """Yield every segment with its first row."""
        return zip(self._starts.tolist(), self.segments, strict=False)

    def living(self) -> Iterator[tuple[int, Segment, list[int]]]:
        """Yield every segment with its first row and those of its own rows that are searched."""
        for first, segment in self.placed():
            alive = self.alive[first : first + len(segment.ids)]
            yield first, segment, np.flatnonzero(alive).tolist()

    def require_new(self, ids: NDArray[np.bytes_]) -> None:
        """Raise InputError for an id that is in the index."""
        self._require_all()
        if self.rows + len(ids) > MAX_ROWS:
            raise InputError(f"an index holds at most {MAX_ROWS} rows")
        hashes, known = _hashes(ids), self._known_hashes()
        for id_ in ids[np.append(known, 0)[np.searchsorted(known, hashes)] == hashes]:
            self._refuse_known(id_)

    def append(self, segment: Segment) -> None:
        """Add rows at the end; InputError for an id that is in the index."""
        self.require_new(segment.ids)
        hashes, known = np.sort(_hashes(segment.ids)), self._known_hashes()
        self._hashes = np.insert(known, np.searchsorted(known, hashes), hashes)
        self.segments = [*self.segments, segment]
        self._starts = np.append(self._starts, self.rows + len(segment.ids))
        self.alive = np.append(self.alive, np.ones(len(segment.ids), dtype=bool))
        self._settled, self._columns = False, None

    def only(self, where: Iterable[Where]) -> Self:
        """Return the rows that match every filter, to be searched; all can be looked up by id.

        Costs a moment, and a byte a row. Raises InputError for a column that is not kept.
        """
        if not (where := list(where)):
            return self
        if self._columns is None:
            self._columns = columns_of(self)
        mask = matching(where, names=self.spec.keep, columns=self._columns)
        self._ascending()  # once, for all that is made of this
        found = copy(self)
        found.alive, found._unfiltered = self.alive & mask, self._held
        return found

    def replace(self, run: slice, segment: Segment) -> None:
        """Put one segment in the place of several that hold the same rows."""
        self.segments = [*self.segments[: run.start], segment, *self.segments[run.stop :]]
        self._starts = np.cumsum([0, *(len(each.ids) for each in self.segments)])

    def remove(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Mark passages as removed and return their rows; InputError for an unknown id."""
        self._require_all()
        rows = self.find(ids)
        self.alive = self.alive.copy()
        self.alive[rows] = False
        self._hashes = None
        return rows

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of passages; InputError for an id that is not there or removed."""
        if isinstance(ids, str):
            raise InputError("ids came as one str; give a list of them")
        return np.fromiter((self._find(id_) for id_ in ids), np.int64, count=len(ids))

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the ids of rows."""
        return [id_.decode() for id_ in self.take("ids", rows).tolist()] if len(rows) else []

    def passages(self, rows: NDArray[np.int64]) -> list[Passage]:
        """Return the passages of rows, texts included."""
        found = np.empty(len(rows), dtype=object)
        order = np.argsort(rows)
        for place, part, inside in self._split(rows[order]):
            held = self.segments[place].passages
            for at, row in zip(order[part], inside.tolist(), strict=True):
                found[at] = held[row]
        return list(found)

    def take(self, part: Part, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return what segments hold of `rows`, in any order, in the type it is stored in.

        Raises IndexError for a row that is not there.
        """
        stored = [getattr(segment, part) for segment in self.segments]
        if len(stored) == 1:
            return np.take(stored[0], rows, axis=0)
        order = np.argsort(rows, kind="stable")
        found = np.empty((len(rows), *stored[0].shape[1:]), np.result_type(*stored))
        for place, sorted_, inside in self._split(rows[order]):
            found[order[sorted_]] = np.take(stored[place], inside, axis=0)
        return found

    @property
    def ranks(self) -> NDArray[np.uint32] | None:
        """Where each row's id stands among all ids, or None when rows are in the order of id."""
        self._settle()
        return self._ranks

    def rows_ranked(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows whose ids stand at `ranks`."""
        order = self._ascending()
        return ranks if order is None else order[ranks]

    @property
    def _held(self) -> NDArray[np.bool_]:
        """Which rows were not removed, whatever a filter leaves."""
        return self.alive if self._unfiltered is None else self._unfiltered

    def _require_all(self) -> None:
        if self._unfiltered is not None:
            raise InputError("an index under a filter is to be searched; change the one it is of")

    def _settle(self) -> None:
        if self._settled:
            return
        ids = self._all_ids()
        order = order_encoded_ids(ids)
        living = ids[order[self.alive[order]]]
        if (repeated := np.flatnonzero(living[1:] == living[:-1])).size:
            raise occurs_twice(bytes(living[repeated[0]]).decode())
        # Other threads may be here: nobody must see an array that is not filled yet.
        if (order[1:] < order[:-1]).any():
            ranks = np.empty(len(order), np.uint32)
            ranks[order] = np.arange(len(order), dtype=np.uint32)
            self._ranks, self._order = ranks, order
        else:
            self._ranks = self._order = None
        self._settled = True

    def _ascending(self) -> NDArray[np.int64] | None:
        """Rows in ascending order of id; None when that is the order they are in."""
        ranks = self.ranks
        order = self._order
        if ranks is not None and order is None:
            order = np.empty(len(ranks), np.int64)
            order[ranks] = np.arange(len(ranks))
            self._order = order  # filled, as other threads may look
        return order

    def _find(self, id_: str) -> int:
        order = self._ascending()

        def row_at(rank: int) -> int:
            return rank if order is None else int(order[rank])

        def id_at(rank: int) -> str:
            row = row_at(rank)
            place = bisect_right(self._starts, row) - 1
            return bytes(self.segments[place].ids[row - self._starts[place]]).decode()

        rank = bisect_left(range(self.rows), id_key(id_), key=lambda r: id_key(id_at(r)))
        while rank < self.rows and id_at(rank) == id_:
            if self._held[row := row_at(rank)]:
                return row
            rank += 1
        raise InputError(f"id {id_!r} is not in the index")

    def _all_ids(self) -> NDArray[np.bytes_]:
        parts = [segment.ids for segment in self.segments]
        return np.concatenate(parts) if parts else np.empty(0, np.bytes_)

    def _known_hashes(self) -> NDArray[np.int64]:
        if self._hashes is None:
            self._hashes = np.sort(_hashes(self._all_ids()[self.alive]))
        return self._hashes

    def _refuse_known(self, id_: np.bytes_) -> None:
        for first, segment in self.placed():
            if ((segment.ids == id_) & self.alive[first : first + len(segment.ids)]).any():
                name = bytes(id_).decode()
                raise InputError(f"id {name!r} is in the index already; remove it first")

    def _split(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, slice, NDArray[np.int64]]]:
        """Yield, per segment with any of the ascending `rows`, which they are and where inside."""
        bounds = np.searchsorted(rows, self._starts)
        if bounds[0] > 0 or bounds[-1] < len(rows):
            raise IndexError(f"rows {rows[0]} to {rows[-1]} are not all below {self.rows}")
        for place in np.flatnonzero(bounds[1:] > bounds[:-1]).tolist():
            part = slice(bounds[place], bounds[place + 1])
            yield place, part, rows[part] - self._starts[place]


def _hashes(ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
    # 8 bytes per id instead of a Python object; equal hashes are compared as ids.
    return np.fromiter(map(hash, ids.tolist()), np.int64, count=len(ids))
