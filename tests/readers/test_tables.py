"""Passages and queries of tables, .csv and .xlsx, whatever their columns are called."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from corom.errors import FormatError
from corom.readers import SkipReport, open_passages, open_queries
from corom.readers.layout import Layout
from corom.readers.lines import Encoding
from corom.records import Passage, Query
from readers.files import CANARY, workbook, written


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
        ("", "holds no row"),
        ("\n,,\n", "holds no row"),
        ("id,text,text\n1,a,b\n", "line 1: its header names a column twice"),
        ("id,text\n1,头痛,x\n", "line 2: has 3 columns instead of 2$"),
        ("text,note\n头痛\n三天,x\n", "line 2: has 1 columns instead of 2; if Excel left out"),
        ('id,text\n1,"头痛\n2,发热\n3,咳嗽\n', "line 2: begins a row that is not csv"),
        ('id,text\n1,头痛\n2,"发"热\n', "line 3: begins a row that is not csv"),
        ("id,text\n1,头痛\n1,发热\n", "line 3: repeats the id"),
        ("id,text\n ,头痛\n", "line 2: has an empty id"),
        ("id,text\n1,\n", "line 2: has an empty text"),
        (
            "id,text\n1,高血压\n".encode("gb18030"),
            "line 2: is not UTF-8; convert",
        ),
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


def test_rows_of_blank_cells_count_for_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, ",,\nid,text,\n7,头痛,\n , ,\n,,\n8,发热,\n,,\n,,\n")
    assert list(open_passages(path)) == [Passage("7", "头痛"), Passage("8", "发热")]


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    skips = SkipReport()
    path = written(tmp_path, "text,note\n头痛,\na\n ,b\n发热,\n")
    assert [passage.id for passage in open_passages(path, skips=skips)] == ["1", "4"]
    assert skips.counts == {"wrong columns": 1, "empty text": 1}


HEADER, ROWS = ("编号", "科室", "问题"), [("a", "内科", "头痛，怎么办"), ("b", "", "发热\n三天")]


def as_csv(folder: Path, *, separator: str = ",", encoding: str = "utf-8") -> Path:
    quoted = [[f'"{cell}"' if "\n" in cell else cell for cell in row] for row in (HEADER, *ROWS)]
    text = "".join(separator.join(row) + "\r\n" for row in quoted)
    return written(folder, text.encode(encoding))


def as_xlsx(folder: Path) -> Path:
    return workbook(folder, *([cell or None for cell in row] for row in (HEADER, *ROWS)))


@pytest.mark.parametrize("mark", ["sep=;", '"sep=;"'])
def test_a_first_line_says_what_separates(tmp_path: Path, mark: str) -> None:
    path = written(tmp_path, f'\ufeff{mark}\r\n\r\n"text,of";id\r\n头痛，三天;7\r\n')
    assert list(open_passages(path, layout=Layout(text="text,of"))) == [Passage("7", "头痛，三天")]
    path = written(tmp_path, f"{mark}\nid;text\n7;\n")
    with pytest.raises(FormatError, match="line 3: has an empty text"):
        list(open_passages(path))
    assert not list(open_passages(written(tmp_path, "sep=|\ntext|id\n")))
    with pytest.raises(FormatError, match="line 2: its header lacks text; it has 2 columns"):
        list(open_passages(written(tmp_path, "\nsep=;\nid;text\n"), layout=Layout()))


@pytest.mark.parametrize(
    ("write", "encoding"),
    [
        (as_csv, "utf-8"),
        (partial(as_csv, separator=";"), "utf-8"),
        (partial(as_csv, separator="\t"), "utf-8"),
        (partial(as_csv, encoding="gb18030"), "gb18030"),
        (partial(as_csv, separator="\t", encoding="utf-16"), "utf-8"),
        (partial(as_csv, encoding="utf-16"), "gb18030"),
        (partial(as_csv, encoding="utf-8-sig"), "gb18030"),
        (as_xlsx, "utf-8"),
    ],
)
@pytest.mark.parametrize("by", [HEADER, ("1", "2", "3")])
def test_one_table_in_every_form(
    tmp_path: Path, write: Callable[[Path], Path], encoding: Encoding, by: tuple[str, str, str]
) -> None:
    path = write(tmp_path)
    layout = Layout(id=by[0], text=by[2], title=by[1], encoding=encoding)
    expected = [Passage(id_, text, title) for id_, title, text in ROWS]
    assert list(open_passages(path, layout=layout)) == expected
    assert list(open_queries(path, layout=Layout(text=by[2], encoding=encoding))) == [
        Query(str(number), text) for number, (_, _, text) in enumerate(ROWS, 1)
    ]


def test_a_name_comes_before_a_number_and_the_columns_chosen_before_the_usual(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "text,2,id\n头痛,发热,7\n")
    assert list(open_passages(path, layout=Layout(text="2"))) == [Passage("7", "发热")]
    path = written(tmp_path, " text , ,\n头痛,,\n")  # as a sheet with two empty columns is saved
    assert list(open_passages(path)) == [Passage("1", "头痛")]


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (Layout(), "lacks text; it has 2 columns: say which is the text's with --text"),
        (Layout(text="问题"), "has 2 columns, none of them '问题'; give --text the name"),
        (Layout(text="3"), "has 2 columns, none of them '3'"),
        (Layout(text="0"), "none of them '0'"),
        (Layout(text="1", id="-1"), "none of them '-1'; give --id the name"),
        (Layout(text="2"), "line 3: has an empty text"),
    ],
)
def test_what_cannot_be_found_is_told_without_a_word_of_the_table(
    tmp_path: Path, form: str, layout: Layout, said: str
) -> None:
    rows = [(CANARY, f"{CANARY}怎么办"), ("1", CANARY), ("2", "")]
    if form == "csv":
        path = written(tmp_path, "".join(f"{a},{b}\n" for a, b in rows))
    else:
        path = workbook(tmp_path, *rows)
    with pytest.raises(FormatError, match=said) as caught:
        list(open_passages(path, layout=layout))
    assert CANARY not in str(caught.value)


def test_only_the_first_sheet_is_read(tmp_path: Path) -> None:
    path = workbook(tmp_path)
    book = pytest.importorskip("openpyxl").load_workbook(path)
    book.create_sheet("second").append(["text"])
    book.save(path)
    with pytest.raises(FormatError, match="its first sheet holds no row"):
        list(open_passages(path))
    book.worksheets[0].append(["text"])
    book.worksheets[0].append(["头痛"])
    book.save(path)
    assert list(open_passages(path)) == [Passage("1", "头痛")]


def test_more_cells_than_the_header_has_names(tmp_path: Path) -> None:
    path = written(tmp_path, f"{CANARY},text\n1,2,3\n")
    with pytest.raises(FormatError, match="line 2: has 3 columns instead of 2") as caught:
        list(open_passages(path))
    assert CANARY not in str(caught.value)


def test_a_header_in_gbk_is_told_of_the_encoding(tmp_path: Path) -> None:
    path = as_csv(tmp_path, encoding="gb18030")
    with pytest.raises(FormatError, match="line 1: is not UTF-8; read one in GBK with --encoding"):
        list(open_passages(path, layout=Layout(text="问题")))
    path.write_bytes("text\n头痛\n".encode("gb18030") + b"\xff\xff\n")
    with pytest.raises(FormatError, match="line 3: is not GB18030; check --encoding"):
        list(open_passages(path, layout=Layout(encoding="gb18030")))


@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.jsonl"])
def test_other_files_in_gbk(tmp_path: Path, name: str) -> None:
    lines = {"a.txt": "高血压", "a.tsv": "1\t高血压", "a.jsonl": '{"id": "1", "text": "高血压"}'}
    path = written(tmp_path, lines[name].encode("gb18030"), name)
    layout = Layout(encoding="gb18030")
    assert list(open_passages(path, layout=layout)) == [Passage("1", "高血压")]
    assert list(open_queries(path, layout=layout)) == [Query("1", "高血压")]
    with pytest.raises(FormatError, match=r"is not UTF-8 at byte .*--encoding gb18030"):
        list(open_passages(path, layout=Layout()))
    with pytest.raises(FormatError, match="iconv -f gb18030"):  # where there is no such flag
        list(open_passages(path))
