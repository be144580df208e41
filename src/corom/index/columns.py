"""Columns kept beside the texts: which values there are, in order, and which one each row has.

In the folder `columns-N`, for the column in place i of `IndexSpec.keep`:

| file | holds |
|---|---|
| `values-i.npy`, `offsets-i.npy` | the distinct values as UTF-8, sorted, one after another |
| `codes-i.npy` | for each row 1 + the place of its value, 0 for none |

A removed row has none. Files are memory-mapped; what is searched in them is a value's place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.index.segments import read_array, write_array

if TYPE_CHECKING:
    from corom.index.collection import Collection


class Column(NamedTuple):
    """The values of one column."""

    values: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    codes: NDArray[Any]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def before(self, value: str) -> int:
        """Return how many values are less than this one."""
        return bisect_left(range(len(self)), _encoded(value), key=self._value)

    def upto(self, value: str) -> int:
        """Return how many values are less than this one, or are it."""
        return bisect_right(range(len(self)), _encoded(value), key=self._value)

    def _value(self, place: int) -> bytes:
        return self.values[self.offsets[place] : self.offsets[place + 1]].tobytes()


def columns_of(collection: Collection) -> list[Column]:
    """Return the columns that the collection keeps; reads every passage."""
    keep = collection.spec.keep
    codes = np.zeros((len(keep), collection.rows), np.uint32)
    seen: list[dict[str, int]] = [{} for _ in keep]
    for first, part, rows in collection.living() if keep else ():
        for row in rows:
            fields = part.passages[row].fields
            for place, name in enumerate(keep):
                if value := fields.get(name):
                    known = seen[place]
                    codes[place, first + row] = known.setdefault(value, len(known) + 1)
    return [_column(*each) for each in zip(codes, seen, strict=True)]


def _column(codes: NDArray[np.uint32], seen: dict[str, int]) -> Column:
    """Return a column whose values are in order, of codes in the order they were seen."""
    values = sorted(map(_encoded, seen))
    places = {value: place for place, value in enumerate(values, 1)}
    ordered = np.fromiter((0, *(places[_encoded(value)] for value in seen)), np.uint32)
    return Column(
        np.frombuffer(b"".join(values), np.uint8),
        np.cumsum([0, *map(len, values)]),
        ordered.astype(np.min_scalar_type(len(values)))[codes],
    )


def _encoded(value: str) -> bytes:
    # In this form text sorts as strings do.
    return value.encode("utf-8", "surrogatepass")


def write_columns(collection: Collection, folder: Path) -> None:
    """Write the columns that the collection keeps to a folder that is made."""
    folder.mkdir()
    for place, column in enumerate(columns_of(collection)):
        for part, array in column._asdict().items():
            write_array(folder / f"{part}-{place}.npy", array)


def read_columns(folder: Path, count: int) -> list[Column]:
    """Return so many columns of a checked folder, memory-mapped."""
    return [
        Column(*(read_array(folder / f"{part}-{place}.npy") for part in Column._fields))
        for place in range(count)
    ]
