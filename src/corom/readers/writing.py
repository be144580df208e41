"""Lines of text and sheets written atomically, compressed as the file's name says."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from corom.errors import InputError
from corom.files import atomic_write
from corom.readers.compression import compressed

_FORMULA = (*"=+-@", *"＝＋－＠", "\t", "\r", "\n")
"""A cell that begins so is a formula to a spreadsheet; of full width in East Asian ones."""


def write_lines(path: Path | str, lines: Iterable[str]) -> None:
    """Write `lines`, each ended by a line feed, as UTF-8: plain, or .gz, .xz, .zst by the name.

    The same lines give the same bytes. The file appears whole or, when `lines` raises, not at all.
    """
    path = Path(path)
    if path.suffix.lower() == ".zip":
        raise InputError(f"{path} cannot be written as .zip; name it .gz, .xz or .zst")
    with atomic_write(path) as raw, compressed(raw, path.suffix) as file:
        for line in lines:
            file.write(line.encode("utf-8"))
            file.write(b"\n")


def write_sheet(
    path: Path | str, header: Sequence[str], rows: Iterable[Sequence[str | int | float]]
) -> None:
    """Write a csv that Excel reads as it is: UTF-8 with a byte order mark.

    A text that would be taken for a formula gets a ' before it; numbers stay numbers.
    """
    sheet = csv.writer(_Row())

    def lines() -> Iterator[str]:
        yield "\ufeff" + sheet.writerow(header)
        for row in rows:
            yield sheet.writerow([_harmless(cell) for cell in row])

    write_lines(path, (line.removesuffix("\n") for line in lines()))


class _Row:
    """What csv writes a row to, and gets it back from."""

    def write(self, text: str) -> str:
        return text


def _harmless(cell: str | float) -> str | float:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def table_cell(text: str) -> str:
    """Return `text`, which a line of a .tsv can hold; InputError for a tab or a line break."""
    if any(mark in text for mark in "\t\n\r"):
        raise InputError(f"{text!r} cannot stand in a table: it holds a tab or a line break")
    return text
