"""The first sheet of a workbook."""

from __future__ import annotations

import zipfile
from datetime import date, datetime
from pathlib import Path

import pytest

from corom.errors import FormatError
from corom.readers.xlsx_rows import xlsx_rows
from readers.files import workbook

pytest.importorskip("openpyxl")


def test_cells_become_texts(tmp_path: Path) -> None:
    row = [7, 7.0, 1.5, date(2026, 1, 31), datetime(2026, 1, 31, 8, 30), True, None, "头痛\n三天"]
    path = workbook(tmp_path, list("abcdefgh"), row)
    assert list(xlsx_rows(path))[1] == (
        2,
        ["7", "7", "1.5", "2026-01-31", "2026-01-31 08:30:00", "TRUE", "", "头痛\n三天"],
    )


def test_blank_rows_count_for_nothing_and_all_are_as_long_as_the_header(tmp_path: Path) -> None:
    path = workbook(tmp_path, [], ["id", "text"], [1], [None, " "], [2, "头痛", ""], [3, "a", "b"])
    assert list(xlsx_rows(path)) == [
        (2, ["id", "text"]),
        (3, ["1", ""]),
        (5, ["2", "头痛"]),
        (6, ["3", "a"]),  # a note, or a column without a name
    ]
    assert list(xlsx_rows(workbook(tmp_path))) == []


def test_a_sheet_that_is_wrong_about_its_size(tmp_path: Path) -> None:
    path = workbook(tmp_path, ["id", "text"], [1, "头痛"])
    odd = tmp_path / "odd.xlsx"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(odd, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data.replace(b'<dimension ref="A1:B2"', b'<dimension ref="A1"'))
    assert list(xlsx_rows(odd)) == [(1, ["id", "text"]), (2, ["1", "头痛"])]


def test_what_is_no_workbook(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0 one with a password")
    with pytest.raises(FormatError, match=r"a\.xlsx: cannot be read"):
        list(xlsx_rows(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "头痛")
    with pytest.raises(FormatError, match=r"cannot be read as \.xlsx \(KeyError\)"):
        list(xlsx_rows(path))
    whole = workbook(tmp_path, ["text"], ["头痛"]).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        list(xlsx_rows(path))
