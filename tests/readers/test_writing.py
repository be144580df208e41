"""Lines, and tables for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from corom.errors import InputError
from corom.readers.writing import write_lines, write_sheet
from readers.files import ENDINGS, lines


def test_what_excel_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [("1", '头痛，"三天"\n发热', -1, 0.5), ("2", "", 0, -2.0), ("a,b", "x\ry", 1, 1.0)]
    write_sheet(path, ("id", "text", "group", "score"), rows)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfid,text,group,score\r\n")
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "text", "group", "score"],
            *[[str(cell) for cell in row] for row in rows],
        ]
    write_sheet(path, ("id",), [])
    assert path.read_bytes() == b"\xef\xbb\xbfid\r\n"


@pytest.mark.parametrize("first", [*"=+-@＝＋－＠\t\r\n"])
def test_no_text_is_a_formula(tmp_path: Path, first: str) -> None:
    path = tmp_path / "a.csv"
    write_sheet(path, ("id", "text"), [(f"{first}1", f"{first}cmd|' /C calc'!A0")])
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file))[1] == [f"'{first}1", f"'{first}cmd|' /C calc'!A0"]


def test_rows_that_fail_leave_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")

    def rows() -> Iterator[tuple[str]]:
        yield ("1",)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_sheet(path, ("id",), rows())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [*ENDINGS, ".GZ", ".Xz"])
def test_written_lines_read_back_and_are_the_same_bytes_twice(tmp_path: Path, ending: str) -> None:
    paths = [tmp_path / f"{number}.tsv{ending}" for number in (1, 2)]
    for path in paths:
        write_lines(path, ["头痛\t1", "", "咳嗽"])
    assert [line for _, _, line in lines(paths[0])] == ["头痛\t1", "", "咳嗽"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_lines(path, ["old"])

    def failing() -> object:
        yield "new"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_lines(path, failing())
    assert [line for _, _, line in lines(path)] == ["old"]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP"])
def test_zip_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="zip"):
        write_lines(tmp_path / name, [])
