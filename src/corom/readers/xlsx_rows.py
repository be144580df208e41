"""Rows of the first sheet of an Excel workbook (extra `excel`), its formulas as last computed."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from corom.errors import FormatError
from corom.extras import need
from corom.readers.compression import open_bytes
from corom.readers.csv_rows import NumberedRow

_BROKEN = (zipfile.BadZipFile, ParseError, KeyError, ValueError, IndexError, AttributeError)


def xlsx_rows(path: Path, *, width: int | None = None) -> Iterator[NumberedRow]:
    """Yield the rows that are not blank, the header first, each as long as the header.

    What stands to the right of the header is not read. Where there is none a `width` says how long
    rows are to be: the first may end early.
    Cells become texts: 7 where a number is whole, TRUE, days as 2026-01-31. Raises FormatError for
    what is no workbook, one with a password included.
    """
    load = need("openpyxl", extra="excel").load_workbook
    with open_bytes(path) as raw:
        try:
            book = _quietly(load, raw, read_only=True, data_only=True, keep_links=False)
            yield from _filled(_rows(book.worksheets[0]), width)
        except _BROKEN as error:
            raise FormatError(
                f"cannot be read as .xlsx ({type(error).__name__}); open it in Excel and save it "
                "again, without a password",
                path=path,
            ) from None


def _rows(sheet: Any) -> Iterator[NumberedRow]:  # noqa: ANN401 - a sheet of openpyxl
    sheet.reset_dimensions()  # what a file says of its own size is at times wrong
    rows = sheet.iter_rows(values_only=True)
    number = 0
    while (row := _quietly(next, rows, None)) is not None:
        number += 1
        cells = [_text(value) for value in row]
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            yield number, cells


def _filled(rows: Iterator[NumberedRow], width: int | None) -> Iterator[NumberedRow]:
    for number, cells in rows:
        width = width or len(cells)
        yield number, [*cells, *[""] * (width - len(cells))][:width]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and not (value.hour or value.minute or value.second):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat(*(" ",) if isinstance(value, datetime) else ())
    return str(value)


def _quietly(call: Any, *given: Any, **options: Any) -> Any:  # noqa: ANN401 - any function
    """Return what `call` returns, without what openpyxl warns of: styles and rules of a sheet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call(*given, **options)
