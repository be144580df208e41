"""Passages and queries of csv files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from corom.errors import FormatError
from corom.readers import SkipReport, open_passages, open_queries
from corom.records import Passage, Query


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_passages_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    rows = (
        '\ufeff科室,title,text,id\r\n内科,高血压,"限盐，""每天5克""\r\n,运动",7\r\n'
        "外科,,骨折,a\r\n,标题,,b\r\n"
    )
    expected = [
        Passage("7", '限盐，"每天5克"\r\n,运动', "高血压"),
        Passage("a", "骨折"),
        Passage("b", "", "标题"),
    ]
    assert list(open_passages(written(tmp_path, rows))) == expected
    packed = written(tmp_path, gzip.compress(rows.encode()), "b.csv.gz")
    assert list(open_passages(packed)) == expected


def test_rows_without_an_id_are_numbered(tmp_path: Path) -> None:
    path = written(tmp_path, 'text\n头痛\n"发热\n咳嗽"\n失眠')
    assert list(open_passages(path)) == [
        *(Passage("1", "头痛"), Passage("2", "发热\n咳嗽"), Passage("3", "失眠")),
    ]
    assert list(open_queries(path))[2] == Query("3", "失眠")


def test_queries(tmp_path: Path) -> None:
    path = written(tmp_path, "query_id,query\nq1,头痛\nq2,发热\n")
    assert list(open_queries(path)) == [Query("q1", "头痛"), Query("q2", "发热")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,content\n1,头痛\n", "line 1: its header lacks text"),
        ("", "line 1: its header lacks text"),
        ("id,text,text\n1,a,b\n", "line 1: its header names a column twice"),
        ("id,text\n1,头痛,x\n", "line 2: has 3 columns instead of 2"),
        ('id,text\n1,"头痛\n2,发热\n3,咳嗽\n', "line 2: begins a row that is not csv"),
        ('id,text\n1,头痛\n2,"发"热\n', "line 3: begins a row that is not csv"),
        ("id,text\n1,头痛\n1,发热\n", "line 3: repeats the id"),
        ("id,text\n ,头痛\n", "line 2: has an empty id"),
        ("id,text\n1,\n", "line 2: has an empty text"),
        ("id,text\n1,高血压\n".encode("gb18030"), "line 2: is not UTF-8; convert"),
    ],
)
def test_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        list(open_passages(written(tmp_path, text)))


def test_long_cells_and_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path, f"\n\ntext\n\n{'长' * 140_000}\n\n短\n\n")
    assert [(passage.id, len(passage.text)) for passage in open_passages(path)] == [
        ("1", 140_000),
        ("2", 1),
    ]
    with pytest.raises(FormatError, match="line 3: its header lacks text"):
        list(open_passages(written(tmp_path, "\n\ntexts\n头痛\n")))
    with pytest.raises(FormatError, match="line 6: has 2 columns"):
        list(open_passages(written(tmp_path, "text\n\n头痛\n\n\n发热,咳嗽\n")))


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    skips = SkipReport()
    path = written(tmp_path, "text\n头痛\na,b\n \n发热\n")
    assert [passage.id for passage in open_passages(path, skips=skips)] == ["1", "4"]
    assert skips.counts == {"wrong columns": 1, "empty text": 1}
