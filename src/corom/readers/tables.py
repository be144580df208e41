"""Passages and queries of tables, .csv and .xlsx: a header, unless the layout has none, then rows.

Columns are found by the names in layout.py, or those a `Layout` gives; others are not read.
Without an id a row's is its number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias, TypeVar

from corom.errors import FormatError
from corom.readers.compression import plain_name
from corom.readers.csv_rows import NumberedRow, csv_rows
from corom.readers.jsonl import passage_of_record, query_of_record
from corom.readers.layout import FIXED, PASSAGE, QUERY, Layout, Names, find_columns
from corom.readers.lines import BadRecordError, SkipReport, read_each, undecodable
from corom.readers.xlsx_rows import xlsx_rows
from corom.records import Passage, Query

Row: TypeAlias = dict[str, str]
"""A row's cells by what they are for."""

T = TypeVar("T")


def read_passages_table(
    path: Path, *, layout: Layout = FIXED, skips: SkipReport | None = None
) -> Iterator[Passage]:
    """Yield the passages of a table; a text may be empty when there is a title."""
    make = partial(passage_of_record, keep=layout.keep)
    return _read(path, PASSAGE, make, layout=layout, skips=skips)


def read_queries_table(
    path: Path, *, layout: Layout = FIXED, skips: SkipReport | None = None
) -> Iterator[Query]:
    """Yield the queries of a table."""
    return _read(path, QUERY, query_of_record, layout=layout, skips=skips)


def _read(
    path: Path,
    names: Names,
    make: Callable[[Row], T],
    *,
    layout: Layout,
    skips: SkipReport | None,
) -> Iterator[T]:
    if plain_name(path.name.lower()).endswith(".xlsx"):
        rows = xlsx_rows(path, width=None if layout.header else layout.width)
    else:
        rows = csv_rows(path, encoding=layout.encoding)
    return read_table(path, rows, names, make, layout=layout, key=attrgetter("id"), skips=skips)


def read_table(
    path: Path,
    rows: Iterator[NumberedRow],
    names: Names,
    make: Callable[[Row], T | None],
    *,
    layout: Layout = FIXED,
    key: Callable[[T], Hashable] | None,
    skips: SkipReport | None,
) -> Iterator[T]:
    """Yield what `make` makes of each row after the header: its cells of the columns in `names`.

    A row gets its number for an id if it has none. Raises FormatError with file and line.
    """
    line, first = next(rows, (1, []))
    if not first:
        what = "its first sheet holds" if path.suffix.lower() == ".xlsx" else "holds"
        raise FormatError(f"{what} no row", path=path)
    header = [name.strip() for name in first]
    if not layout.header:
        header = [str(number) for number, _ in enumerate(first, 1)]
        rows = chain([(line, first)], rows)
    try:
        _check_encoding(header, layout)
        columns = find_columns(header, names, layout)
    except BadRecordError as bad:
        raise FormatError(str(bad), path=path, line=line) from None

    def parse(numbered: tuple[int, list[str]]) -> T | None:
        number, row = numbered
        _check_length(row, header)
        _check_encoding(row, layout)
        cells = {role: row[at] for role, at in columns.items()}
        cells.setdefault("id", str(number))
        return make(cells)

    records = ((path, line, (number, row)) for number, (line, row) in enumerate(rows, 1))
    yield from read_each(records, parse, key=key, skips=skips)


def _check_length(row: list[str], header: list[str]) -> None:
    if len(row) == len(header):
        return
    # It may be half of a row, cut by a line break that no quotes are around.
    way = "; if Excel left out empty cells at the end, save it as .xlsx"
    raise BadRecordError(
        "wrong columns",
        f"has {len(row)} columns instead of {len(header)}{way * (len(row) < len(header))}",
    )


def _check_encoding(row: list[str], layout: Layout) -> None:
    try:
        "".join(row).encode("utf-8")
    except UnicodeEncodeError:
        raise undecodable(layout.encoding) from None
