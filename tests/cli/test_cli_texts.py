"""Files that are not quite in order: records that cannot be read, tables without a header."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

CANARY = "患者王某某头痛三天"
ROWS = f"科室,问题\n内科,{CANARY}\n外科,\n外科,高血压怎么办\n儿科,多,{CANARY}\n"
LEFT_OUT = "2 records were left out (1 empty text, 1 wrong columns); the first: "
SKIP, TEXT = "--skip-bad", ("--text", "问题")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


@pytest.fixture
def verbs(
    table: Path, on: tuple[object, ...], tmp_path: Path
) -> dict[str, tuple[tuple[object, ...], Callable[[str], list[str]]]]:
    """By name what is run, and what finds the ids in what it prints."""

    def hits(out: str) -> list[str]:
        return sorted(hit["id"] for hit in json.loads(out))

    def pairs(out: str) -> list[str]:
        return sorted(out.split("\t")[1:3])

    def lines(path: Path) -> Callable[[str], list[str]]:
        return lambda _: [line.split("\t")[0] for line in path.read_text("utf-8").splitlines()]

    def parts(_: str) -> list[str]:
        lines = (tmp_path / "parts.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line)["id"] for line in lines]

    labels, vectors = tmp_path / "labels.tsv", tmp_path / "v.npy"
    return {
        "rank": (("rank", "头痛", "-f", table, "--json", *on), hits),
        "similarity": (("similarity", "-f", table, "--above", -9, *on), pairs),
        "encode": (("encode", table, "-o", vectors, *on), lines(tmp_path / "v.ids.txt")),
        "split": (("split", table, "-o", tmp_path / "parts.jsonl", *on[:2]), parts),
        "cluster": (("cluster", table, "-n", 1, "-o", labels, *on), lines(labels)),
    }


@pytest.mark.parametrize("name", ["rank", "similarity", "encode", "split", "cluster"])
def test_what_cannot_be_read_is_left_out_and_counted(
    run: Callable, verbs: dict, table: Path, name: str
) -> None:
    if name == "cluster":
        pytest.importorskip("sklearn")
    verb, ids = verbs[name]
    done = run(*verb, *TEXT)
    assert (done.code, CANARY in done.err) == (2, False)
    assert f"{table}, line 3: has an empty text; --skip-bad leaves such records out" in done.err
    done = run(*verb, *TEXT, SKIP)
    assert (done.code, ids(done.out)) == (0, ["1", "3"]), done.err  # the numbers of the rows
    assert done.err.count("left out") == 1
    assert f"{LEFT_OUT}{table}, line 3: has an empty text\n" in done.err
    assert CANARY not in done.err
    table.write_text("id,问题\n1,头痛\n,发热\n", encoding="utf-8")  # as of merged cells
    assert "line 3: has an empty id; --skip-bad leaves such records" in run(*verb, *TEXT).err


@pytest.mark.parametrize("name", ["rank", "similarity", "encode", "split", "cluster"])
def test_a_table_without_a_header(run: Callable, verbs: dict, table: Path, name: str) -> None:
    if name == "cluster":
        pytest.importorskip("sklearn")
    verb, ids = verbs[name]
    table.write_text(f"内科,{CANARY}\n外科,高血压怎么办\n", encoding="utf-8")
    done = run(*verb, "--no-header", "--text", "2")
    assert (done.code, ids(done.out)) == (0, ["1", "2"]), done.err
    assert run(*verb, "--no-header").refuses("give --text the number")


def test_only_the_error_for_an_empty_text_names_the_flag(
    run: Callable, verbs: dict, table: Path
) -> None:
    table.write_text(f"text\n{CANARY},{CANARY}\n", encoding="utf-8")
    done = run(*verbs["rank"][0])
    assert done.refuses("has 2 columns instead of 1")
    assert (SKIP in done.err, CANARY in done.err) == (False, False)


def test_nothing_is_left(run: Callable, verbs: dict, table: Path) -> None:
    table.write_text(f"text,\n,7\n{CANARY}\n", encoding="utf-8")
    for verb in ("rank", "encode"):
        done = run(*verbs[verb][0], SKIP)
        assert (done.code, CANARY in done.err) == (2, False)
        assert "table.csv holds no text; 2 records were left out" in done.err
    assert not (table.parent / "v.npy").exists()


def test_nothing_is_said_where_all_can_be_read(run: Callable, verbs: dict, table: Path) -> None:
    table.write_text("text\n头痛\n", encoding="utf-8")
    assert (run(*verbs["rank"][0], SKIP)).err == ""


def test_lines_of_standard_input(run: Callable, on: tuple[object, ...]) -> None:
    lines = f"头痛\n\n\t\n{CANARY}\n".encode() + b"\xff\n"
    done = run("rank", "发热", "-f", "-", "--json", *on, SKIP, stdin=lines)
    assert {hit["id"] for hit in json.loads(done.out)} == {"1", "4"}
    assert "3 records were left out (2 empty text, 1 invalid UTF-8)" in done.err
    assert CANARY not in done.err
    done = run("rank", "发热", "-f", "-", *on, stdin=lines)
    assert "standard input, line 2: has an empty text; --skip-bad" in done.err


def test_files_of_a_folder(run: Callable, model: Path, tmp_path: Path) -> None:
    folder, parts = tmp_path / "texts", tmp_path / "parts.jsonl"
    folder.mkdir()
    for name, text in (("a", CANARY), ("b", " \n"), ("c", "头痛")):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    asked = ("split", folder, "--files", "-o", parts, "-m", model)
    assert "b.txt: has an empty text; --skip-bad leaves such" in run(*asked).err
    done = run(*asked, SKIP)
    assert f"1 record was left out (1 empty text); the first: {folder / 'b.txt'}" in done.err
    assert [json.loads(line)["id"] for line in parts.read_text("utf-8").splitlines()] == ["a", "c"]


@pytest.mark.parametrize(
    "verb",
    [("rank", "头痛", "发热"), ("similarity", "头痛", "发热"), ("encode", "a.csv", "-o", "shards")],
)
def test_where_there_is_no_file(run: Callable, verb: tuple[object, ...]) -> None:
    done = run(*verb, SKIP)
    assert done.refuses("--skip-bad is for a file of texts")
    assert ("shards is to be a folder of shards" in done.err) == (verb[0] == "encode")


class TestIndex:
    @pytest.fixture
    def asked(self, table: Path, on: tuple[object, ...], tmp_path: Path) -> tuple[object, ...]:
        return ("index", table, "--to", tmp_path / "index", *TEXT, *on, "--json")

    def test_leaves_out_the_same_each_time_and_says_it_once(
        self, run: Callable, asked: tuple[object, ...], table: Path
    ) -> None:
        assert run(*asked).refuses("line 3: has an empty text; --skip-bad")
        for split in ((), ("--part-tokens", 16)):
            done = run(*asked[:3], f"{asked[3]}-{len(split)}", *asked[4:], *split, SKIP)
            assert (done.code, done.err.count("left out")) == (0, 1)
            assert (LEFT_OUT in done.err, CANARY in done.err) == (True, False)
            assert json.loads(done.out)["passages"] == 2
        table.write_text(f'问题\n""\n,{CANARY}\n', encoding="utf-8")
        done = run(*asked, SKIP)
        assert (done.code, "holds no text" in done.err, CANARY in done.err) == (2, True, False)

    def test_follows_what_can_be_read(
        self, run: Callable, asked: tuple[object, ...], table: Path, tmp_path: Path
    ) -> None:
        from corom.corpus import CorpusChecksum
        from corom.index.folder import read_manifest
        from corom.records import Passage

        assert run(*asked, SKIP).code == 0
        table.write_text(ROWS.replace("外科,\n", "外科,骨折怎么办\n"), encoding="utf-8")
        done = run(*asked, SKIP, "--update")
        change = {key: json.loads(done.out)[key] for key in ("added", "changed", "removed", "kept")}
        assert change == {"added": 1, "changed": 0, "removed": 0, "kept": 2}
        assert done.err.count("1 record was left out (1 wrong columns)") == 1
        read = [("1", CANARY), ("2", "骨折怎么办"), ("3", "高血压怎么办")]
        expected = CorpusChecksum(Passage(*each) for each in read).hexdigest()
        assert read_manifest(tmp_path / "index").spec.source == expected
        table.write_text(f"问题\n,{CANARY}\n", encoding="utf-8")
        assert run(*asked, SKIP, "--update").refuses("holds no text; 1 record was left out")
        assert read_manifest(tmp_path / "index").spec.source == expected

    def test_shards_have_no_bad_records(
        self, run: Callable, asked: tuple[object, ...], on: tuple[object, ...], tmp_path: Path
    ) -> None:
        (tmp_path / "a.txt").write_text("头痛\n", encoding="utf-8")
        assert run("encode", tmp_path / "a.txt", "-o", tmp_path / "shards", *on).code == 0
        done = run("index", tmp_path / "shards", "--to", tmp_path / "index", SKIP)
        assert done.refuses("--skip-bad is for a file of texts")

    def test_queries(
        self, run: Callable, asked: tuple[object, ...], table: Path, tmp_path: Path
    ) -> None:
        assert run(*asked, SKIP).code == 0
        ask = ("search", "-i", tmp_path / "index", "--json", "--precision", "fp32")
        assert run(*ask, "-f", table, *TEXT).refuses("line 3: has an empty text; --skip-bad")
        done = run(*ask, "-f", table, *TEXT, SKIP)
        found = [json.loads(line)["query_id"] for line in done.out.splitlines()]
        assert (found, LEFT_OUT in done.err, CANARY in done.err) == (["1", "3"], True, False)
        table.write_text("内科,头痛\n外科,高血压\n", encoding="utf-8")
        done = run(*ask, "-f", table, "--no-header", "--text", "2")
        assert [json.loads(line)["query_id"] for line in done.out.splitlines()] == ["1", "2"]
        assert run(*ask, SKIP, "头痛").refuses("--skip-bad is for a file of texts")
