"""similarity --above: pairs and groups, on the screen and in files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

TEXTS = ["=1+1头痛", "发热咳嗽", "=1+1头痛", "高血压", "发热咳嗽", "=1+1头痛"]
GROUPS = [["0", "1"], ["0", "3"], ["0", "6"], ["1", "2"], ["1", "5"]]


@pytest.fixture
def asked(on: tuple[object, ...], tmp_path: Path) -> tuple[object, ...]:
    path = tmp_path / "questions.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    return ("similarity", "-f", path, *on, "--score", "cosine", "--above", 0.9999)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_groups(run: Callable, asked: tuple[object, ...], tmp_path: Path) -> None:
    done = run(*asked, "--groups")
    lines = [line.split("\t") for line in done.out.splitlines()]
    assert [line[:2] for line in lines] == GROUPS
    assert [line[2] for line in lines] == [TEXTS[int(line[1]) - 1] for line in lines]
    records = [json.loads(line) for line in run(*asked, "--groups", "--json").out.splitlines()]
    assert records == [{"group": 0, "ids": ["1", "3", "6"]}, {"group": 1, "ids": ["2", "5"]}]
    table, sheet = tmp_path / "groups.tsv", tmp_path / "groups.csv"
    assert run(*asked, "--groups", "-o", table).out == f"{table}: 2 groups of 5 texts\n"
    assert table.read_text("utf-8") == done.out
    assert run(*asked, "--groups", "-o", sheet).code == 0
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbf")
    assert rows_of(sheet)[0] == ["group", "id", "text"]
    assert [row[:2] for row in rows_of(sheet)[1:]] == GROUPS
    assert rows_of(sheet)[1][2] == "'=1+1头痛"


def test_pairs_in_a_file(run: Callable, asked: tuple[object, ...], tmp_path: Path) -> None:
    table, sheet = tmp_path / "pairs.tsv", tmp_path / "PAIRS.CSV"
    assert run(*asked, "-o", table).out == f"{table}: 4 pairs\n"
    assert table.read_text("utf-8") == run(*asked).out
    assert run(*asked, "-o", sheet).code == 0
    header, *rows = rows_of(sheet)
    assert header == ["score", "left", "right", "left text", "right text"]
    assert {(row[1], row[2]) for row in rows} == {("1", "3"), ("1", "6"), ("3", "6"), ("2", "5")}
    assert {row[0] for row in rows} == {"1.0"}


def test_nothing_is_close(run: Callable, asked: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "different.txt"
    for text in "头痛\n发热咳嗽\n", "":
        path.write_text(text, encoding="utf-8")
        for flags in (), ("--groups",):
            done = run(asked[0], "-f", path, *asked[3:], *flags, "-o", tmp_path / "none.csv")
            assert (done.code, "score 0.9999 or more" in done.err) == (0, True)
            assert len(rows_of(tmp_path / "none.csv")) == 1


def test_more_equal_texts_than_there_may_be_pairs(
    run: Callable, asked: tuple[object, ...], tmp_path: Path
) -> None:
    path = tmp_path / "many.txt"
    path.write_text("无\n" * 1500, encoding="utf-8")
    many = (asked[0], "-f", path, *asked[3:])
    assert json.loads(run(*many, "--groups", "--json").out)["ids"] == [
        str(number) for number in range(1, 1501)
    ]
    assert run(*many).refuses("more than 1,000,000 pairs")


def test_flags_that_do_not_belong_together(
    run: Callable, asked: tuple[object, ...], tmp_path: Path
) -> None:
    for flags in ("--groups",), ("-o", tmp_path / "a.tsv"):
        assert run(*asked[:3], *flags).refuses("belong to --above")
    assert run(*asked, "-o", tmp_path / "a.xlsx").refuses("name it .csv, which Excel reads")
    assert run(*asked, "-o", asked[2]).refuses("is the input itself")
