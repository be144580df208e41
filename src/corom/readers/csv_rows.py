"""Rows of csv files, as spreadsheets write them.

A cell in quotes may hold separators, quotes (twice) and line breaks; one whose quotes do not end
is refused, and would else take in all rows that follow. Rows that are blank, or have blank cells
only, count for nothing: Excel writes some after the last.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from corom.errors import FormatError
from corom.readers.lines import Encoding, open_text

NumberedRow: TypeAlias = tuple[int, list[str]]
"""The line that a row begins on, or its number in a sheet; its cells."""

# Of a cell. Python's own limit, 131,072, is one for the whole process: it is only ever raised.
_MOST_CHARACTERS = 1 << 27
_QUOTED = re.compile(r'"[^"]*"')
_SAID = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*')
"""A first line that tells Excel what separates columns."""


def csv_rows(
    path: Path, *, encoding: Encoding | None = "utf-8", strict: bool = True
) -> Iterator[NumberedRow]:
    """Yield the rows of a csv file that are not blank, the header first.

    What separates columns is what a first line `sep=;` says, else a comma, or the `;` or tab of a
    header that has no comma. Bytes that are not in `encoding` become surrogates. `strict`: quotes
    are as they must be. Raises FormatError with file and line.
    """
    # With surrogates for undecodable bytes one bad record does not end the parser.
    form = "gb18030" if encoding == "gb18030" else "utf-8-sig"
    with (
        open_text(path, encoding) as raw,
        io.TextIOWrapper(raw, form, errors="surrogateescape", newline="") as text,
    ):
        csv.field_size_limit(max(csv.field_size_limit(), _MOST_CHARACTERS))
        blank, head, separator = _beginning(text)
        reader = csv.reader(chain(blank, [head], text), strict=strict, delimiter=separator)
        start = 1
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield start, row
                start = reader.line_num + 1
        except csv.Error as error:
            raise FormatError(
                f"begins a row that is not csv ({error}); check its quotes", path=path, line=start
            ) from None


def _beginning(lines: Iterator[str]) -> tuple[list[str], str, str]:
    """Return the blank lines before the header, its first line, and what separates columns.

    A line that says the separator becomes a blank one: lines keep their numbers.
    """
    blank, separator = list[str](), ""
    for line in lines:
        said = None if blank else _SAID.fullmatch(line)
        if said:
            separator = said[1]
        elif line.strip("\r\n"):
            return blank, line, separator or _separator(line)
        blank.append("\n")
    return blank, "", ","


def _separator(head: str) -> str:
    bare = _QUOTED.sub("", head)
    return next((mark for mark in ",;\t" if mark in bare), ",")
