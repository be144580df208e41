"""Which columns and fields hold what, and how a file is encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corom.errors import FormatError, InputError
from corom.readers import SkipReport, open_documents, open_passages, open_queries
from corom.readers.layout import Layout
from corom.records import Passage, Query
from readers.files import CANARY, workbook, written


def test_fields_of_jsonl(tmp_path: Path) -> None:
    lines = (
        '{"编号": 7, "问题": "头痛", "text": "x", "科室": "内科"}\n{"编号": 8, "问题": "发热"}\n'
    )
    path = written(tmp_path, lines, "a.jsonl")
    layout = Layout(text="问题", id="编号", title="科室")
    assert list(open_passages(path, layout=layout)) == [
        Passage("7", "头痛", "内科"),
        Passage("8", "发热"),
    ]
    assert list(open_queries(path, layout=layout)) == [Query("7", "头痛"), Query("8", "发热")]
    with pytest.raises(FormatError, match="line 1: has no field '主诉'"):
        list(open_passages(path, layout=Layout(text="主诉")))


def test_what_has_no_columns_to_choose(tmp_path: Path) -> None:
    path = written(tmp_path, "1\t头痛\n", "corpus.tsv")
    for open_file in (open_passages, open_queries):
        with pytest.raises(InputError, match="--text, --id name columns of"):
            open_file(path, layout=Layout(text="1", id="2"))
    for layout in (Layout(text="1"), Layout(encoding="gb18030")):
        with pytest.raises(InputError, match=r"name columns|is for a file"):
            open_passages(tmp_path, layout=layout)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"text": 2}, "a column goes by a text"),
        ({"id": b"1"}, "a column goes by a text"),
        ({"keep": (3,)}, "a column goes by a text"),
        ({"keep": "date"}, "give a tuple of columns"),
        ({"text": "问题", "keep": ("date", "text")}, "'text' is the passage's own"),
    ],
)
def test_layouts_that_make_no_sense(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Layout(**chosen)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.tsv", "a.jsonl"])
def test_an_encoding_that_is_not_known(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "text\n头痛\n".encode("gbk"), name)
    with pytest.raises(InputError, match="'gbk' is none of utf-8, gb18030, which reads GBK"):
        list(open_passages(path, layout=Layout(encoding="gbk")))
    with pytest.raises(InputError, match="'gbk' is none of"):
        list(open_documents(written(tmp_path, "a", "b.txt").parent, encoding="gbk"))


class TestWithoutHeader:
    ROWS = (("a", "头痛", "内科"), ("b", f"{CANARY}怎么办", "外科"))
    LAYOUT = Layout(header=False, id="1", text="2")

    @pytest.fixture(params=["csv", "xlsx"])
    def table(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        if request.param == "csv":
            return written(tmp_path, "".join(f"{','.join(row)}\n" for row in self.ROWS))
        return workbook(tmp_path, *self.ROWS)

    def test_no_row_is_lost(self, table: Path) -> None:
        expected = [Passage(id_, text) for id_, text, _ in self.ROWS]
        assert list(open_passages(table, layout=self.LAYOUT)) == expected
        numbered = Layout(header=False, text="2", title="3")
        assert list(open_passages(table, layout=numbered)) == [
            Passage("1", "头痛", "内科"),
            Passage("2", f"{CANARY}怎么办", "外科"),
        ]
        assert list(open_queries(table, layout=Layout(header=False, text="2"))) == [
            Query("1", "头痛"),
            Query("2", f"{CANARY}怎么办"),
        ]

    def test_a_first_row_that_cannot_be_used_is_a_row(self, tmp_path: Path) -> None:
        rows = "a,\nb,发热\n".encode()
        for start, reason in (b"", "empty text"), (b"\xff", "invalid UTF-8"):
            skips, path = SkipReport(), written(tmp_path, start + rows)
            read = open_passages(path, layout=Layout(header=False, text="2"), skips=skips)
            assert list(read) == [Passage("2", "发热")]
            assert skips.counts == {reason: 1}

    def test_a_sheet_whose_first_row_ends_early(self, tmp_path: Path) -> None:
        rows = ["a", "头痛"], ["b", "发热", "外科"], ["c", "咳嗽", None, "注"]
        path = workbook(tmp_path, *rows)
        read = open_passages(path, layout=Layout(header=False, text="2", title="3"))
        assert [(passage.text, passage.title) for passage in read] == [
            *(("头痛", ""), ("发热", "外科"), ("咳嗽", "")),
        ]

    @pytest.mark.parametrize(
        ("chosen", "said"),
        [
            ({}, "give --text the number"),
            ({"text": "问题"}, "--text '问题' is no number"),
            ({"text": "2", "id": "0"}, "--id '0' is no number"),
            ({"text": "2", "keep": ("3",)}, "--keep names columns by the header"),
        ],
    )
    def test_columns_go_by_number_only(self, chosen: dict[str, Any], said: str) -> None:
        with pytest.raises(InputError, match=said):
            Layout(header=False, **chosen)

    @pytest.mark.parametrize("name", ["a.jsonl", "a.tsv", "a.txt"])
    def test_other_files_have_none(self, tmp_path: Path, name: str) -> None:
        path = written(tmp_path, "1\t头痛\n", name)
        for open_file in (open_passages, open_queries):
            with pytest.raises(InputError, match="--no-header is for a"):
                open_file(path, layout=self.LAYOUT)

    def test_columns_that_are_not_there(self, tmp_path: Path) -> None:
        layout = Layout(header=False, text="9")
        path = written(tmp_path, f"{CANARY},头痛\n")
        with pytest.raises(FormatError, match="line 1: has 2 columns, none of them '9'") as bad:
            list(open_passages(path, layout=layout))
        assert CANARY not in str(bad.value)
        with pytest.raises(FormatError, match="holds no row"):
            list(open_passages(written(tmp_path, ""), layout=layout))


class TestKept:
    TABLE = "科室,text,date,医生\n内科,头痛, 2025-03-01,张三\n,发热,,\n"

    def test_named_ones_only(self, tmp_path: Path) -> None:
        path = written(tmp_path, self.TABLE)
        assert list(open_passages(path, layout=Layout(keep=("date", "科室")))) == [
            Passage("1", "头痛", fields={"date": "2025-03-01", "科室": "内科"}),
            Passage("2", "发热"),
        ]
        assert [p.fields for p in open_passages(path, layout=Layout(keep=("1",)))] == [
            {"1": "内科"},
            {},
        ]
        assert [p.fields for p in open_passages(path)] == [{}, {}]

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        path = written(tmp_path, self.TABLE)
        with pytest.raises(FormatError, match=r"line 1: .* none of them 'dtae'; give --keep"):
            list(open_passages(path, layout=Layout(keep=("dtae",))))

    @pytest.mark.parametrize("name", ["a.tsv", "a.txt", "."])
    def test_files_without_columns(self, tmp_path: Path, name: str) -> None:
        path = tmp_path if name == "." else written(tmp_path, "1\t头痛\n", name)
        with pytest.raises(InputError, match="--keep name columns of"):
            open_passages(path, layout=Layout(keep=("a",)))
