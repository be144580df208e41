"""BEIR folders and plain jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import FormatError
from corom.readers import SkipReport, open_dataset
from corom.readers.jsonl import read_passages_jsonl, read_qrels_beir, read_queries_jsonl
from corom.readers.layout import Layout
from corom.records import Passage, Qrel, Query
from readers.files import VISIBLE, left_out


def dump(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path


def beir(folder: Path, *, header: str = "query-id\tcorpus-id\tscore\n") -> Path:
    dump(
        folder / "corpus.jsonl",
        {"_id": "d1", "title": "糖尿病", "text": "要控制饮食。", "metadata": {}},
        {"_id": 2, "title": "", "text": "多休息。"},
        {"_id": "d3", "title": "只有标题", "text": ""},
    )
    dump(
        folder / "queries.jsonl",
        {"_id": "q1", "text": "糖尿病吃什么"},
        {"_id": "q2", "text": "感冒"},
        {"_id": "q3", "text": "没有人判断过"},
    )
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(f"{header}q1\td1\t2\nq1\t2\t0\n")
    (folder / "qrels" / "dev.tsv").write_text(f"{header}q2\t2\t1\n")
    return folder


def test_a_beir_folder(tmp_path: Path) -> None:
    data = open_dataset(beir(tmp_path))
    assert (data.format, data.splits) == ("beir", ("dev", "test"))
    assert [*data.passages()] == [
        Passage("d1", "要控制饮食。", "糖尿病"),
        Passage("2", "多休息。"),
        Passage("d3", "", "只有标题"),
    ]
    assert [*data.queries("test")] == [Query("q1", "糖尿病吃什么")]
    assert [*data.qrels("test")] == [Qrel("q1", "d1", 2), Qrel("q1", "2", 0)]
    assert data.check().stray_queries == 1
    assert data.check().describe().startswith("3 passages, 1 queries in no split")


def test_the_files_that_are_read_and_those_that_are_not(tmp_path: Path) -> None:
    others = ("notes.tsv", "qrels/README.md")
    beir(tmp_path)
    for name in others:
        (tmp_path / name).write_text("x")
    data = open_dataset(tmp_path)
    read = {path.relative_to(tmp_path).as_posix() for path in data.files}
    assert read == {"corpus.jsonl", "queries.jsonl", "qrels/dev.tsv", "qrels/test.tsv"}
    assert (data.splits, data.unused) == (("dev", "test"), others)


def test_a_missing_header_loses_no_line(tmp_path: Path) -> None:
    assert next(iter(open_dataset(beir(tmp_path, header="")).qrels("test"))) == Qrel("q1", "d1", 2)


def test_a_corpus_alone_has_no_splits(tmp_path: Path) -> None:
    dump(tmp_path / "corpus.jsonl", {"_id": "1", "text": "x"})
    data = open_dataset(tmp_path)
    assert data.splits == ()
    assert data.check().describe() == "1 passages"


BAD: list[tuple[str, str]] = [
    ("{", "bad JSON"),
    ("", "bad JSON"),
    ("[1]", "bad JSON"),
    ('"头痛"', "bad JSON"),
    ("[" * 100_000, "bad JSON"),
    ('{"_id": "5"}', "missing field"),
    ('{"text": "头痛"}', "missing field"),
    ('{"_id": "", "text": "头痛"}', "empty id"),
    ('{"_id": null, "text": "头痛"}', "bad field"),
    ('{"_id": true, "text": "头痛"}', "bad field"),
    ('{"_id": 1.5, "text": "头痛"}', "bad field"),
    ('{"_id": "5", "text": ["头痛"]}', "bad field"),
    ('{"_id": "5", "text": " "}', "empty text"),
    ('{"_id": "5", "text": "x\\ud800"}', "invalid UTF-8"),
    ('{"_id": "1", "text": "头痛"}', "duplicate"),
    ('{"_id": 1, "text": "头痛"}', "duplicate"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
@pytest.mark.parametrize("read", [read_passages_jsonl, read_queries_jsonl])
def test_bad_lines(tmp_path: Path, read: Any, line: str, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"_id": "1", "text": "咳嗽"}}\n{line}\n{{"id": 2, "text": "😭"}}\n', "utf-8")
    kept = left_out(read, path, line=2, reason=reason)
    assert [(each.id, each.text) for each in kept] == [("1", "咳嗽"), ("2", "😭")]


def test_a_title_that_is_no_string(tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", {"id": 1, "text": "x", "title": 5})
    with pytest.raises(FormatError, match="'title'"):
        list(read_passages_jsonl(path))
    path = dump(path, {"id": 1, "text": "x", "title": None})
    assert list(read_passages_jsonl(path)) == [Passage("1", "x")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q\td", "wrong columns"),
        ("q d 1", "wrong columns"),
        ("\td\t1", "empty id"),
        ("q\t\t1", "empty id"),
        ("q\td\t0.5", "bad grade"),
        ("q1\td1\t1", "duplicate"),
    ],
)
def test_bad_judgements(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(f"query-id\tcorpus-id\tscore\nq1\td1\t1\n{line}\n")
    assert left_out(read_qrels_beir, path, line=3, reason=reason) == [Qrel("q1", "d1", 1)]


@given(
    st.dictionaries(VISIBLE, st.tuples(VISIBLE, VISIBLE | st.just("")), max_size=6), st.booleans()
)
def test_any_text_survives(
    tmp_path_factory: pytest.TempPathFactory, texts: dict[str, tuple[str, str]], ascii_: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    records = [{"id": i, "text": text, "title": title} for i, (text, title) in texts.items()]
    path.write_bytes("".join(json.dumps(r, ensure_ascii=ascii_) + "\n" for r in records).encode())
    expected = [Passage(i, text, title) for i, (text, title) in texts.items()]
    assert list(read_passages_jsonl(path)) == expected


class TestKept:
    RECORDS = (
        {"id": 1, "text": "头痛", "department": " 内科 ", "age": 7, "share": 0.5, "new": True},
        {"id": 2, "text": "发热", "department": None, "age": "", "name": "张三", "big": 10**20},
        {"id": 3, "text": "咳嗽", "department": {"name": "张三"}},
    )

    def test_named_ones_only_as_text(self, tmp_path: Path) -> None:
        keep = ("department", "age", "share", "new", "big")
        read = read_passages_jsonl(
            dump(tmp_path / "a", *self.RECORDS[:2]), layout=Layout(keep=keep)
        )
        assert [passage.fields for passage in read] == [
            {"department": "内科", "age": "7", "share": "0.5", "new": "true"},
            {"big": "100000000000000000000"},
        ]

    def test_no_others(self, tmp_path: Path) -> None:
        read = read_passages_jsonl(dump(tmp_path / "a", *self.RECORDS))
        assert [passage.fields for passage in read] == [{}, {}, {}]

    def test_a_nested_value_is_refused(self, tmp_path: Path) -> None:
        path = dump(tmp_path / "a", *self.RECORDS)
        with pytest.raises(FormatError, match=r"a, line 3: has a field 'department'") as caught:
            list(read_passages_jsonl(path, layout=Layout(keep=("department",))))
        assert "张三" not in str(caught.value)
        skips = SkipReport()
        layout = Layout(keep=("department",))
        assert len(list(read_passages_jsonl(path, layout=layout, skips=skips))) == 2
        assert skips.counts == {"bad field": 1}

    def test_one_that_no_record_has(self, tmp_path: Path) -> None:
        layout = Layout(keep=("departmnet", "age"))
        with pytest.raises(FormatError, match="no record has a field 'departmnet'"):
            list(read_passages_jsonl(dump(tmp_path / "a", *self.RECORDS), layout=layout))
