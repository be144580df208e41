"""index --keep, and search --where."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("tantivy")

TABLE = """科室,text,date,医生
儿科,孩子发热咳嗽怎么办,2025-02-28,CANARY李四
内科,糖尿病饮食治疗,2025-03-01,CANARY李四
内科,高血压患者注意休息,2025-03-15,CANARY李四
外科,手术后多久检查,2025-04-01,CANARY李四
,头痛发热,,CANARY李四
"""
KEEP = ("--keep", "科室, date")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def found(run: Callable, index: Path, *filters: str) -> list[list[str]]:
    """The ids that each of two queries finds."""
    where = [flag for each in filters for flag in ("--where", each)]
    done = run("search", "发热", "头痛", "-i", index, "--json", *where)
    assert done.code == 0, done.err
    return [sorted(hit["id"] for hit in json.loads(line)) for line in done.out.splitlines()]


@pytest.mark.parametrize("kind", ["exact", "parts", "bm25"])
def test_kept_filtered_and_followed(
    run: Callable, corpus: Path, model: Path, tmp_path: Path, kind: str
) -> None:
    index = tmp_path / "ix"
    make = ["index", corpus, "--to", index, "-m", "bm25" if kind == "bm25" else model, *KEEP]
    make += ["--part-tokens", 16] if kind == "parts" else []
    assert run(*make).code == 0
    both = [["1", "5"], ["5"]] if kind == "bm25" else [["1", "2", "3", "4", "5"]] * 2
    assert found(run, index) == both
    some = [["1"], []] if kind == "bm25" else [["1", "4"]] * 2
    assert found(run, index, "科室=儿科,外科") == some
    march = [[], []] if kind == "bm25" else [["2", "3"]] * 2
    assert found(run, index, "date>=2025-03-01", "date<2025-04-01") == march
    assert found(run, index, "科室=CANARY") == [[], []]
    held = b"".join(path.read_bytes() for path in index.rglob("*") if path.is_file())
    assert b"CANARY" not in held  # what is not named is not written

    corpus.write_text(TABLE.replace("儿科", "急诊科"), encoding="utf-8")
    done = run(*make, "--update", "--json")
    assert json.loads(done.out)["changed"] == 1
    assert found(run, index, "科室=急诊科") == [["1"], [] if kind == "bm25" else ["1"]]
    assert found(run, index, "科室=儿科") == [[], []]


def test_hits_show_what_is_kept(
    run: Callable, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "ix"
    assert run("index", corpus, "--to", index, "-m", "bm25", *KEEP).code == 0
    asked = ("search", "糖尿病", "-i", index)
    [hit] = json.loads(run(*asked, "--json").out)
    assert hit["fields"] == {"科室": "内科", "date": "2025-03-01"}
    assert "\n     科室 内科  date 2025-03-01\n" in run(*asked).out
    assert "keeps: 科室, date" in run("doctor", "-i", index).out
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    assert "\x1b[2m科室 内科" in run(*asked).out  # dim


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["医生=CANARY"], "does not keep; it keeps 科室, date"),
        (["CANARY"], "is written COLUMN=VALUE"),
        (["科室=内科", "CANARY=>1"], "does not keep; it keeps 科室, date"),
    ],
)
def test_wrong_filters(
    run: Callable, corpus: Path, tmp_path: Path, filters: list[str], said: str
) -> None:
    index = tmp_path / "ix"
    assert run("index", corpus, "--to", index, "-m", "bm25", *KEEP).code == 0
    done = run("search", "头痛", "-i", index, *(f"--where={each}" for each in filters))
    assert (done.code, said in done.err, "CANARY" in done.err) == (2, True, False)


@pytest.mark.parametrize(
    ("keep", "to", "said"),
    [
        ("科室,dtae", "ix", "none of them 'dtae'"),
        ("科室,,date", "ix", "column '' cannot be kept"),
        ("text", "ix", "'text' is kept anyway"),
        ("date,date", "ix", "named twice"),
        ("date", "milvus://127.0.0.1:1/x", "for an index in a folder"),
    ],
)
def test_wrong_columns(
    run: Callable, corpus: Path, tmp_path: Path, keep: str, to: str, said: str
) -> None:
    to = to if ":" in to else str(tmp_path / to)
    done = run("index", corpus, "--to", to, "-m", "bm25", "--keep", keep)
    assert (done.code != 0, said in done.err, "CANARY" in done.err) == (True, True, False)
    assert not (tmp_path / "ix").exists()


def test_other_columns_to_be_kept_are_another_index(
    run: Callable, corpus: Path, tmp_path: Path
) -> None:
    make = ("index", corpus, "--to", tmp_path / "ix", "-m", "bm25")
    assert run(*make).code == 0
    done = run("search", "头痛", "-i", tmp_path / "ix", "--where", "date=1")
    assert done.refuses("make one with --keep")
    for flags in ([], ["--update"]):
        assert run(*make, *KEEP, *flags).refuses("keep: ('科室', 'date') != ()", code=1)
