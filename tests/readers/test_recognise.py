"""From a path to a reader."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from corom.errors import FormatError, InputError
from corom.readers import SkipReport, open_dataset, open_passages, open_queries
from corom.records import Passage, Qrel, Query
from readers.files import workbook


def test_an_unknown_folder_is_told_what_was_seen_and_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    with pytest.raises(FormatError, match=r"(?s)it holds notes.txt; known are:.*multi-cpr.*beir"):
        open_dataset(tmp_path)


def test_an_empty_folder_a_file_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="it holds no file"):
        open_dataset(tmp_path)
    (tmp_path / "corpus.tsv").write_text("1\tx\n")
    for path in (tmp_path / "corpus.tsv", tmp_path / "missing"):
        with pytest.raises(InputError, match="not a folder"):
            open_dataset(path)


def test_two_formats_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").write_text("1\tx\n")
    (tmp_path / "corpus.jsonl").write_text('{"_id": 1, "text": "x"}\n')
    with pytest.raises(FormatError, match="looks like multi-cpr and beir at once"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "1\t感冒\n2\t头痛\n"),
        ("a.query.txt", "1\t感冒\n2\t头痛\n"),
        ("a.jsonl", '{"id": "1", "text": "感冒"}\n{"_id": 2, "text": "头痛"}\n'),
        ("a.txt", "感冒\n头痛\n"),
    ],
)
@pytest.mark.parametrize("path_type", [Path, str])
def test_files_by_their_names(
    tmp_path: Path, name: str, text: str, path_type: Callable[[Path], Path | str]
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    path = path_type(tmp_path / name)
    assert list(open_passages(path)) == [Passage("1", "感冒"), Passage("2", "头痛")]
    assert list(open_queries(path)) == [Query("1", "感冒"), Query("2", "头痛")]


def test_a_folder_gives_its_passages(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").write_text("1\tx\n")
    assert list(open_passages(tmp_path)) == [Passage("1", "x")]
    with pytest.raises(InputError, match="not a file"):
        open_queries(tmp_path)


def test_empty_lines_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("感冒\n\n头痛", encoding="utf-8")
    with pytest.raises(FormatError, match="line 2: has an empty text"):
        list(open_passages(path))
    skips = SkipReport()
    assert list(open_passages(path, skips=skips)) == [Passage("1", "感冒"), Passage("3", "头痛")]
    assert skips.counts == {"empty text": 1}


@pytest.mark.parametrize("open_file", [open_passages, open_queries])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "1\t感冒\n2\n"),
        ("a.jsonl", '{"id": "1", "text": "感冒"}\n{"id": "2"}\n'),
        ("a.csv", "id,text\n1,感冒\n2,\n"),
        ("a.txt", "感冒\n \n"),
    ],
)
def test_bad_lines_of_every_form_are_left_out(
    tmp_path: Path, open_file: Callable, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    skips = SkipReport()
    assert [each[:2] for each in open_file(tmp_path / name, skips=skips)] == [("1", "感冒")]
    assert skips.total == 1
    with pytest.raises(FormatError, match=f"line {text.count(chr(10))}: "):
        list(open_file(tmp_path / name))


@pytest.mark.parametrize("open_file", [open_passages, open_queries])
@pytest.mark.parametrize("name", ["a.doc", "a", "a.gz"])
def test_other_files_are_refused_at_once(tmp_path: Path, open_file: Callable, name: str) -> None:
    (tmp_path / name).write_text("1\tx\n")
    with pytest.raises(InputError, match=r"name it .jsonl, .csv, .xlsx, .tsv or .txt"):
        open_file(tmp_path / name)
    with pytest.raises(InputError, match="not a file"):
        open_file(tmp_path / "missing.tsv")


@pytest.mark.parametrize("name", ["a.xls", "A.XLS", "a.ods.gz"])
def test_sheets_of_other_kinds_are_to_be_saved_anew(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("1\tx\n")
    with pytest.raises(InputError, match=r"cannot be read; save it as \.xlsx or \.csv"):
        open_passages(tmp_path / name)


@pytest.mark.parametrize("name", ["A.CSV", "A.TXT", "A.TSV", "A.JSONL", "A.CSV.GZ", "A.XLSX"])
def test_endings_may_be_capitals(tmp_path: Path, name: str) -> None:
    lines = {"CSV": "id,text\n1,头痛\n", "TSV": "1\t头痛\n", "JSONL": '{"id": "1", "text": "头痛"}'}
    form = name.split(".")[1]
    data = lines.get(form, "头痛\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("GZ") else data)
    if form == "XLSX":
        workbook(tmp_path, ("id", "text"), (1, "头痛")).rename(tmp_path / name)
    assert list(open_passages(tmp_path / name)) == [Passage("1", "头痛")]
    assert list(open_queries(tmp_path / name)) == [Query("1", "头痛")]


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    for name in ("a.tsv", "a.jsonl", "a.txt"):
        (tmp_path / name).touch()
        assert list(open_passages(tmp_path / name)) == []


FOLDERS = {
    "multi-cpr": {
        "corpus.tsv": "1\t水",
        "dev.query.txt": "1\t问",
        "qrels.dev.tsv": "1\t0\t1\t1",
    },
    "ms-marco": {
        "collection.tsv": "1\t水",
        "queries.dev.tsv": "1\t问",
        "qrels.dev.tsv": "1\t0\t1\t1",
    },
    "beir": {
        "corpus.jsonl": '{"_id": "1", "text": "水"}',
        "queries.jsonl": '{"_id": "1", "text": "问"}',
        "qrels/dev.tsv": "1\t1\t1",
    },
    "groups": {
        "dev.jsonl": '{"query_id": "1", "query": "问", '
        '"positive_passages": [{"docid": "1", "text": "水"}]}',
    },
}


@pytest.mark.parametrize("form", FOLDERS)
def test_what_cannot_be_used_is_left_out_of_every_file_of_a_folder(
    tmp_path: Path, form: str
) -> None:
    for name, line in FOLDERS[form].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{line}\nbad\n", "utf-8")
    skips = SkipReport()
    data = open_dataset(tmp_path, skips=skips)
    assert (data.format, data.splits) == (form, ("dev",))
    assert [*data.passages()] == [*open_passages(tmp_path, skips=skips)] == [Passage("1", "水")]
    assert [*data.queries("dev")] == [Query("1", "问")]
    assert [*data.qrels("dev")] == [Qrel("1", "1", 1)]
    assert skips.total == len(FOLDERS[form])
    strict = open_dataset(tmp_path)
    for read in (strict.passages, partial(strict.queries, "dev"), partial(strict.qrels, "dev")):
        with pytest.raises(FormatError, match="line 2"):
            list(read())
