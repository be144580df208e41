"""data get, check and sample; the server is that of tests/readers/test_download.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corom.readers import download
from readers.test_download import FILES, server

__all__ = ["server"]


def test_get_fetches_checks_and_resumes(run: Callable, server, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    server.cuts = [25_000, 1000, *[0] * 9]
    assert run("data", "get", "small", "--to", folder).refuses("1000 bytes are kept", code=1)
    server.cuts.clear()
    done = run("data", "get", "small", "--to", folder)
    assert done.code == 0
    assert "multi-cpr data set" in done.out
    assert "terms of use" in done.err
    assert {path.name for path in folder.iterdir()} == set(FILES)
    found = json.loads(run("data", "get", "small", "--to", folder, "--json").out)
    assert found == {"folder": str(folder), "splits": ["dev"]}


def test_get_takes_a_mirror_and_goes_to_the_folder_of_its_name(
    run: Callable, server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = download.PUBLISHED["small"]
    monkeypatch.setattr(
        download, "PUBLISHED", {"small": small._replace(url="http://127.0.0.1:1/gone")}
    )
    monkeypatch.chdir(tmp_path)
    assert run("data", "get", "small", "--mirror", small.url).code == 0
    assert (tmp_path / "small" / "corpus_split_4.tsv").is_file()


def test_get_knows_its_names(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("data", "get", "multi-cpr").refuses("multi-cpr-medical")
    monkeypatch.setenv("COROM_OFFLINE", "1")
    assert run("data", "get", "multi-cpr-medical", "--to", "/nowhere/else").code == 1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "corpus.tsv").write_text("1\t糖尿病\n2\t头痛\n", encoding="utf-8")
    (tmp_path / "dev.query.txt").write_text("1\t饮食\n", encoding="utf-8")
    (tmp_path / "qrels.dev.tsv").write_text("1\t0\t1\t1\n", encoding="utf-8")
    return tmp_path


def test_check_says_what_is_there(run: Callable, data: Path) -> None:
    done = run("data", "check", data)
    assert done.code == 0
    assert "2 passages" in done.out
    assert "dev: 1 queries, 1 qrels" in done.out
    found = json.loads(run("data", "check", data, "--json").out)
    assert (found["format"], found["passages"], found["broken"]) == ("multi-cpr", 2, {})
    assert found["splits"]["dev"]["queries"] == 1
    assert found["checksum"] in done.out


def test_check_counts_broken_records_and_lost_judgements(run: Callable, data: Path) -> None:
    with (data / "corpus.tsv").open("a", encoding="utf-8") as file:
        file.write("3\n4\t\n1\t糖尿病\n")
    done = run("data", "check", data)
    assert done.refuses("3 records were left out", code=1)
    assert "头痛" not in done.err + done.out
    broken = json.loads(run("data", "check", data, "--json").out)["broken"]
    assert sum(broken.values()) == 3
    (data / "corpus.tsv").write_text("2\t头痛\n", encoding="utf-8")
    done = run("data", "check", data)
    assert (done.code, done.err) == (1, "")
    assert "1 qrels without passage" in done.out


def test_check_refuses_what_is_no_data_set(run: Callable, tmp_path: Path) -> None:
    assert run("data", "check", tmp_path).code == 2
    assert run("data", "check", tmp_path / "nowhere").code == 2


PAIRS = [
    {"query": f"问题{n}", "positive": f"回答{n}", "source": "kg_a" if n % 2 else "people"}
    for n in range(80)
]


def test_sample_takes_a_share_of_each_source_in_order(run: Callable, tmp_path: Path) -> None:
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    first = ("--set", 'weights."kg_*"=0.25', "--set", 'weights."*"=1.0')  # matched in this order
    done = run("data", "sample", "--data", data, "--output", tmp_path / "part", *first)
    file = tmp_path / "part" / "pairs.jsonl"
    assert (done.code, done.out) == (0, f"{file}\n")
    kept = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [pair for pair in PAIRS if pair in kept] == kept
    assert sum(pair["source"] == "people" for pair in kept) == 40
    assert 3 <= sum(pair["source"] == "kg_a" for pair in kept) <= 20
    again = run("data", "sample", "-d", data, "-o", tmp_path / "part", *first, "--json")
    counts = {"records": 80, "kept": len(kept), "left out": {}}
    assert json.loads(again.out) == {"files": [str(file)], **counts}
    assert f"{len(kept)} of 80 records" in done.err
    assert run("data", "sample", "-d", data, "-o", tmp_path / "part").refuses("made otherwise")


def test_sample_names_the_line_that_is_no_match(run: Callable, tmp_path: Path) -> None:
    data = tmp_path / "graded.jsonl"
    rows = [{**PAIRS[0], "label": 2}, {**PAIRS[1], "label": 0}]
    data.write_text("".join(json.dumps(pair) + "\n" for pair in rows), encoding="utf-8")
    done = run("data", "sample", "-d", data, "-o", tmp_path / "part")
    assert done.refuses("graded.jsonl, line 2: is labelled as no match")
    skipped = run("data", "sample", "-d", data, "-o", tmp_path / "part", "--set", "bad_rows=skip")
    assert skipped.code == 0
    assert "1 of 1 records\nleft out: label 0 1\n" in skipped.err
    assert len((tmp_path / "part" / "graded.jsonl").read_text().splitlines()) == 1
    assert run("data", "sample", "--output", tmp_path / "none").refuses("data is missing")


def test_holdout(run: Callable, tmp_path: Path) -> None:
    records = ({"query": f"q{n}", "positive": f"p{n}"} for n in range(30))
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    command = ("data", "holdout", "--data", data, "--output", tmp_path / "split")
    done = run(*command, "--queries", 4)
    assert (done.code, done.out.splitlines()[0]) == (0, str(tmp_path / "split" / "dev"))
    assert "training records: 26" in done.err
    found = json.loads(run(*command, "--queries", 4, "--json").out)
    assert found["dev queries"] == 4
    assert found["train"] == [str(tmp_path / "split" / "train" / "pairs.jsonl")]
    assert "queries is 0; it must be a whole number from 1" in run(*command, "--queries", 0).err
    assert run("data", "check", tmp_path / "split" / "dev").code == 0
