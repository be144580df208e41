"""Filters: which passages are searched, by the columns that the index keeps.

Values are compared as text, by code points: dates as 2025-03-01, numbers of one length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from corom.errors import InputError
from corom.index.columns import Column

_WRITTEN = re.compile(r"([^=<>,]+)(>=|<=|=|>|<)(?!=)(.+)", re.DOTALL)
_BOUNDS = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the value in a column must be: one of several, within bounds, or both.

    A passage without a value in the column does not match.
    """

    column: str
    # Not shown: they may be of patients.
    among: tuple[str, ...] | None = field(default=None, repr=False)
    gte: str | None = field(default=None, repr=False)
    gt: str | None = field(default=None, repr=False)
    lte: str | None = field(default=None, repr=False)
    lt: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        given = [getattr(self, each.name) for each in fields(self)[2:]]
        bounds = [value for value in given if value is not None]
        if not isinstance(self.among, tuple | None):
            raise InputError("the values of a filter came as one; give a tuple of them")
        if not all(isinstance(value, str) for value in (*(self.among or ()), *bounds)):
            raise InputError("a filter compares text; give str")
        if self.among is None and not bounds:
            raise InputError("a filter says nothing; give it values or bounds")


def parse_where(text: str) -> Where:
    """Return the filter written as `column=value,value` (any of them) or `column>=value`.

    The other signs are >, <= and <. Raises InputError, which does not repeat the text.
    """
    match = _WRITTEN.fullmatch(text)
    column, sign, value = match.groups() if match else ("", "", "")
    values = tuple(each.strip() for each in (value.split(",") if sign == "=" else [value]))
    if not any(values):
        raise InputError(
            "a filter is written COLUMN=VALUE (or VALUE,VALUE), COLUMN>=VALUE, >, <= or <"
        )
    if sign == "=":
        return Where(column=column.strip(), among=values)
    return Where(column=column.strip(), **{_BOUNDS[sign]: values[0]})  # type: ignore[arg-type]


def matching(
    where: Iterable[Where], *, names: Sequence[str], columns: Sequence[Column]
) -> NDArray[np.bool_]:
    """Return for each row whether it matches every filter; `columns` are those called `names`.

    Raises InputError for a column that is not kept.
    """
    where = list(where)
    if not {each.column for each in where} <= set(names):
        kept = f"it keeps {', '.join(names)}" if names else "make one with --keep COLUMN"
        raise InputError(f"a filter is by a column that the index does not keep; {kept}")
    rows = [_rows(each, columns[names.index(each.column)]) for each in where]
    found: NDArray[np.bool_] = np.logical_and.reduce(rows)
    return found


def _rows(where: Where, column: Column) -> NDArray[np.bool_]:
    wanted = np.zeros(len(column) + 1, bool)
    wanted[1:] = where.among is None
    for value in where.among or ():
        wanted[1 + column.before(value) : 1 + column.upto(value)] = True
    if where.gte is not None:
        wanted[: 1 + column.before(where.gte)] = False
    if where.gt is not None:
        wanted[: 1 + column.upto(where.gt)] = False
    if where.lte is not None:
        wanted[1 + column.upto(where.lte) :] = False
    if where.lt is not None:
        wanted[1 + column.before(where.lt) :] = False
    found: NDArray[np.bool_] = wanted[column.codes]
    return found
