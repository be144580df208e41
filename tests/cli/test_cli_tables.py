"""Tables as they come: the verbs that read texts take their columns and their encoding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

ROWS = "编号;科室;问题\na;内科;头痛怎么办\nb;外科;高血压怎么办\n"
COLUMNS = ("--text", "问题", "--id", "1", "--encoding", "gb18030")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(ROWS.encode("gb18030"))
    return path


@pytest.fixture
def on(on: tuple[object, ...]) -> tuple[object, ...]:
    return (*on, *COLUMNS)


def test_every_verb_reads_it(
    run: Callable, on: tuple[object, ...], table: Path, tmp_path: Path
) -> None:
    done = run("similarity", "-f", table, "--above", -1, "--score", "cosine", *on, "--title", 2)
    assert done.out.split("\t")[1:] == ["a", "b", "内科 头痛怎么办", "外科 高血压怎么办\n"]
    hits = json.loads(run("rank", "头痛", "-f", table, *on, "--json").out)
    assert {hit["id"]: hit["text"] for hit in hits} == {"a": "头痛怎么办", "b": "高血压怎么办"}
    assert run("encode", table, "-o", tmp_path / "v.npy", *on).code == 0
    assert (tmp_path / "v.ids.txt").read_text() == "a\nb\n"
    parts = tmp_path / "parts.jsonl"
    assert run("split", table, "-o", parts, "-m", on[1], *COLUMNS).code == 0
    assert [json.loads(line)["id"] for line in parts.read_text("utf-8").splitlines()] == ["a", "b"]
    index = tmp_path / "index"
    assert run("index", table, "--to", index, *on).code == 0
    asked = run("search", "-i", index, "-f", table, *COLUMNS, "--precision", "fp32", "--json").out
    found = [json.loads(line) for line in asked.splitlines()]
    assert [(each["query_id"], each["hits"][0]["id"]) for each in found] == [("a", "a"), ("b", "b")]
    pytest.importorskip("sklearn")
    labels = tmp_path / "labels.tsv"
    assert run("cluster", table, "-n", 1, "-o", labels, *on).code == 0
    assert labels.read_text() == "a\t0\nb\t0\n"


def test_a_folder_of_texts_in_gbk(run: Callable, model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes("高血压怎么办".encode("gb18030"))
    asked = ("split", tmp_path / "texts", "--files", "-o", tmp_path / "parts.jsonl", "-m", model)
    assert run(*asked).refuses("read one in GBK with --encoding gb18030")
    assert run(*asked, "--encoding", "gb18030").code == 0
    assert "高血压怎么办" in (tmp_path / "parts.jsonl").read_text("utf-8")
    assert run(*asked, "--text", "1").refuses("--text name columns of")


@pytest.mark.parametrize(
    "verb",
    [
        ("rank", "头痛", "发热"),
        ("similarity", "头痛", "发热"),
        ("rank", "头痛", "-f", "-"),
        ("cluster", "-", "-n", 1),
        ("search", "-i", "no-index", "头痛"),
        ("encode", "-", "-o", "v.npy"),
    ],
)
def test_where_there_are_no_columns(run: Callable, verb: tuple[object, ...]) -> None:
    for flags, said in (("--text", "x"), "name columns"), (("--encoding", "gb18030"), "is for a"):
        assert run(*verb, *flags, stdin="头痛\n".encode()).refuses(said)


def test_shards_are_made_of_files_as_they_are(
    run: Callable, on: tuple[object, ...], table: Path, tmp_path: Path
) -> None:
    assert run("encode", table, "-o", tmp_path / "shards", *on).refuses("--text, --id name columns")
