"""Passages and queries of csv files, as spreadsheets write them: a header, then rows.

| | columns |
|---|---|
| passages | `text`; `id` (or `_id`, `docid`), else the number of the row; `title` if any |
| queries | `text` (or `query`); `id` (or `_id`, `query_id`), else the number of the row |

Others are not read. A cell in quotes may hold commas, quotes (twice) and line breaks; one whose
quotes do not end is refused, and would else take in all rows that follow. Blank lines count for
nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

from corom.errors import FormatError
from corom.readers.fields import id_field, require_unique, text_field
from corom.readers.jsonl import passage_of_record
from corom.readers.lines import TO_UTF8, BadRecordError, SkipReport, leave_out, open_bytes
from corom.records import Passage, Query

Row: TypeAlias = dict[str, str]

# Of a cell. Python's own limit, 131,072, is one for the whole process: it is only ever raised.
_MOST_CHARACTERS = 1 << 27

T = TypeVar("T")


def read_passages_csv(path: Path, *, skips: SkipReport | None = None) -> Iterator[Passage]:
    """Yield the passages of a csv file; a text may be empty when there is a title."""
    return _numbered(path, ("id", "_id", "docid"), ("text",), passage_of_record, skips=skips)


def read_queries_csv(path: Path, *, skips: SkipReport | None = None) -> Iterator[Query]:
    """Yield the queries of a csv file."""
    names = ("id", "_id", "query_id")

    def query(row: Row) -> Query:
        return Query(id_field(row, *names), text_field(row, "text", "query"))

    return _numbered(path, names, ("text", "query"), query, skips=skips)


def _numbered(
    path: Path,
    ids: tuple[str, ...],
    texts: tuple[str, ...],
    make: Callable[[Row], T],
    *,
    skips: SkipReport | None,
) -> Iterator[T]:
    """Yield what `make` makes of each row, which gets its number for an id if it has none."""
    unique = require_unique()

    def parse(row: Row, number: int) -> T:
        if not any(name in row for name in ids):
            row["id"] = str(number)
        made = make(row)
        unique(id_field(row, *ids))
        return made

    return read_csv(path, [texts], parse, skips=skips)


def read_csv(
    path: Path,
    required: list[tuple[str, ...]],
    parse: Callable[[Row, int], T],
    *,
    skips: SkipReport | None,
    strict: bool = True,
) -> Iterator[T]:
    """Yield `parse(row, its number)` of each after the header, which has one of each of `required`.

    `strict`: quotes are as they must be. Raises FormatError with file and line.
    """
    # Undecodable bytes become surrogates, so one bad record does not end the parser.
    with (
        open_bytes(path) as raw,
        io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        csv.field_size_limit(max(csv.field_size_limit(), _MOST_CHARACTERS))
        reader, start = csv.reader(text, strict=strict), 1
        try:
            header = next((row for row in reader if row), [])
            _check_header(header, required, path, line=max(1, reader.line_num))
            start = reader.line_num + 1
            number = 0
            for row in reader:
                line, start = start, reader.line_num + 1
                if not row:
                    continue
                number += 1
                try:
                    record = parse(_cells(row, header), number)
                except BadRecordError as bad:
                    leave_out(bad, path, line, skips)
                else:
                    yield record
        except csv.Error as error:
            raise FormatError(
                f"begins a row that is not csv ({error}); check its quotes", path=path, line=start
            ) from None


def _check_header(
    header: list[str], required: list[tuple[str, ...]], path: Path, *, line: int
) -> None:
    lacking = [" or ".join(names) for names in required if not set(names) & set(header)]
    if lacking:
        raise FormatError(
            f"its header lacks {', '.join(lacking)}; columns are found by name, separated by "
            "commas, in UTF-8",
            path=path,
            line=line,
        )
    if len(set(header)) < len(header):
        raise FormatError("its header names a column twice", path=path, line=line)


def _cells(row: list[str], header: list[str]) -> Row:
    if len(row) != len(header):
        raise BadRecordError(
            "wrong columns",
            f"has {len(row)} columns instead of {len(header)} ({', '.join(header)})",
        )
    try:
        "".join(row).encode("utf-8")
    except UnicodeEncodeError:
        raise BadRecordError("invalid UTF-8", f"is not UTF-8; {TO_UTF8}") from None
    return dict(zip(header, row, strict=True))
