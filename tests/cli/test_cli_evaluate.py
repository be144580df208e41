"""evaluate."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

TEXTS = [
    "糖尿病吃什么药",
    "高血压患者注意休息",
    "头痛发热",
    "消化道出血手术",
    "咳嗽多久",
    "胃肠检查",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, lines in {
        "corpus.tsv": [f"{n}\t{text}" for n, text in enumerate(TEXTS, 1)],
        "dev.query.txt": ["1\t糖尿病", "2\t头痛"],
        "qrels.dev.tsv": ["1\t0\t1\t1", "2\t0\t3\t1"],
        "test.query.txt": ["1\t高血压"],
        "qrels.test.tsv": ["1\t0\t2\t1"],
    }.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def options(model: Path, tmp_path: Path) -> tuple[object, ...]:
    return ("--model", model, "--precision", "fp32", "--work", tmp_path / "work")


def test_models_side_by_side_in_every_form(
    run: Callable, data: Path, model: Path, options: tuple, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    files = ("--json", out / "o.json", "--markdown", out / "o.md", "--plot", out / "o.svg")
    splits, more = ("--split", "dev", "--split", "test"), ("--runs", out, "--truncate-dim", 8)
    done = run("evaluate", data, *splits, "--model", "bm25", *options, *files, *more)
    assert done.code == 0
    report = json.loads((out / "o.json").read_text(encoding="utf-8"))
    names = ["bm25", str(model), f"{model}@8"]
    found = [(each["split"], each["model"]) for each in report["results"]]
    assert found == [(split, name) for split in ("dev", "test") for name in names]
    first = report["results"][0]
    assert set(first["metrics"]) == {"MRR@10", "Recall@1000", "nDCG@10", "MAP"}
    assert first["metrics"]["MRR@10"] == 1
    assert report["results"][1]["settings"]["normalize"] is False
    assert "data / dev" in done.out
    assert "bm25" in done.out
    assert (out / "o.md").read_text(encoding="utf-8").startswith("### data / dev")
    assert (out / "o.svg").is_file()
    assert len(list(out.glob("*.run"))) == 6
    again = run("evaluate", data, *splits, "--model", "bm25", *options, "--truncate-dim", 8)
    assert again.out == done.out


def test_rows_of_parts(run: Callable, data: Path, options: tuple, model: Path) -> None:
    pytest.importorskip("ir_measures")
    asked = ("evaluate", data, "--split", "dev", *options)
    done = run(*asked, "--part-tokens", 16, "--part-tokens", 32)
    assert done.code == 0, done.err
    assert f"{model}, parts of 16" in done.out
    assert f"{model}, parts of 32" in done.out
    done = run(*asked, "--part-tokens", 500)
    assert done.refuses("--part-tokens 500")
    assert "reads only" in done.err


def test_parts_of_words_and_ids_that_parts_would_have(
    run: Callable, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tantivy")
    asked = ("evaluate", data, "--split", "dev", "--part-tokens", 16)
    done = run(*asked, "--model", "bm25")
    assert (done.code, "bm25, parts of 16" in done.out) == (0, True)
    corpus = data / "corpus.tsv"
    lines = corpus.read_text(encoding="utf-8").splitlines()
    corpus.write_text("\n".join([*lines, "x#1\t头痛"]) + "\n", encoding="utf-8")
    assert run(*asked, "--work", tmp_path / "kept").refuses("'x#1' ends like that of a part")
    assert not (tmp_path / "kept").exists()


def test_a_row_for_each_weight_of_words(
    run: Callable, data: Path, options: tuple, model: Path, tmp_path: Path, tiny_reranker: Path
) -> None:
    pytest.importorskip("tantivy")
    asked = ("evaluate", data, "-s", "dev", "-m", "bm25", *options, "--fuse", 1, "--fuse", 0.8)
    done = run(*asked, "--rerank", tiny_reranker, "--json", tmp_path / "o.json")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))["results"]
    names = ["bm25", str(model), f"{model}+bm25@1", f"{model}+bm25@0.8"]
    assert [each["model"] for each in found] == [*names, *(f"{n}+{tiny_reranker}" for n in names)]
    assert found[2]["metrics"] == found[1]["metrics"]
    assert found[3]["settings"]["fusion_vectors"] == 0.8
    for wrong, said in (
        (("-m", "bm25", "--fuse", 0.5), "--fuse is for models with vectors"),
        (("--index", tmp_path, "--fuse", 0.5), "--fuse is for models with vectors"),
        (("-m", "./none", "--fuse", 1.5), "must be from 0 to 1"),
    ):
        assert run("evaluate", data, "-s", "dev", *wrong).refuses(said)


def test_what_another_system_found(
    run: Callable, data: Path, options: tuple, model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tantivy")
    out = tmp_path / "out"
    asked = ("evaluate", data, "-s", "dev")
    assert run(*asked, "-m", "bm25", *options, "--runs", out).code == 0
    words = out / "dev.bm25.run"
    (theirs,) = set(out.iterdir()) - {words}
    given = ("--run", theirs, "--run", words, "--json", tmp_path / "o.json")
    done = run(*asked, *options, *given)
    assert done.code == 0, done.err
    own, again, other = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))["results"]
    assert [own["model"], again["model"], other["model"]] == [str(model), theirs.name, words.name]
    assert (again["metrics"], again["recall"]) == (own["metrics"], own["recall"])
    assert {(v["difference"], v["p_value"]) for v in again["versus"].values()} == {(0, 1)}
    assert set(other["settings"]) == {"run"}
    alone = run(*asked, "--run", words)
    assert (alone.code, str(model) in alone.out) == (0, False)
    other = tmp_path / "other" / words.name
    other.parent.mkdir()
    other.write_bytes(theirs.read_bytes())
    both = run(*asked, "--run", words, "--run", other, "--against", other)
    assert (both.code, f"\n{words} " in both.out, f"\n{other} " in both.out) == (0, True, True)
    assert run(*asked, "--run", words, "--run", words).code == 2
    for wrong, said in (
        (("-s", "test"), "name one --split"),
        (("--json", words), "is the input itself"),
        (("--runs", out / ".." / "out"), "where --runs writes"),
    ):
        assert run(*asked, "-m", "./none", "--run", words, *wrong).refuses(said)
    words.write_text("7 Q0 1 1 0.5 t\n", encoding="utf-8")
    assert run(*asked, "-m", "./none", "--run", words).refuses("queries that the split has not")


def test_the_only_split_need_not_be_named(run: Callable, data: Path, options: tuple) -> None:
    assert run("evaluate", data, *options).code == 2
    assert "dev, test" in run("evaluate", data, *options).err
    (data / "qrels.test.tsv").unlink()
    (data / "test.query.txt").unlink()
    done = run("evaluate", data, *options, "--normalize", "--measure", "MRR@2", "--depth", 2)
    assert done.code == 0
    assert "MRR@2" in done.out


def test_figures_of_every_query(run: Callable, data: Path, options: tuple, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = ("--per-query", out / "q.tsv.gz", "--json", out / "o.json")
    done = run("evaluate", data, "-s", "test", "-s", "dev", "-m", "bm25", *options, *files)
    assert done.code == 0
    with gzip.open(out / "q.tsv.gz", "rt", encoding="utf-8") as file:
        head, *rows = [line.rstrip("\n").split("\t") for line in file]
    assert head == ["split", "model", "query", "MRR@10", "Recall@1000", "nDCG@10", "MAP"]
    results = json.loads((out / "o.json").read_text(encoding="utf-8"))["results"]
    assert len(rows) == sum(each["queries"] for each in results)
    for each in results:
        own = [row for row in rows if row[:2] == [each["split"], each["model"]]]
        for column, measure in enumerate(head[3:], start=3):
            mean = sum(float(row[column]) for row in own) / len(own)
            assert mean == pytest.approx(each["metrics"][measure], abs=1e-12)


def test_pairs(run: Callable, options: tuple, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = ["糖尿病\t糖尿病药\t1", "头痛\t头痛发热\t1", "高血压\t咳嗽\t0"]
    for name in ("one", "two"):
        (folder / f"{name}.tsv").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "o.json"
    done = run("evaluate", folder, "-s", "two", "-s", "one", *options, "--json", out)
    assert done.code == 0
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    assert [each["split"] for each in results] == ["two", "one"]
    assert set(results[0]["metrics"]) == {"AUC", "Spearman"}
    assert run("evaluate", folder / "one.tsv", *options).code == 0
    for wrong in (
        ("-m", "bm25"),
        ("--plot", "p.png"),
        ("--runs", folder),
        ("--measure", "MAP"),
        ("--per-query", tmp_path / "q.tsv"),
        ("--run", tmp_path / "q.run"),
        ("--fuse", 0.8),
        ("--rerank-depth", 0),
    ):
        assert run("evaluate", folder, "-s", "one", *options, *wrong).code == 2


def test_a_reranker_adds_a_row_for_every_model(
    run: Callable, data: Path, options: tuple, tiny_reranker: Path, tmp_path: Path
) -> None:
    rerank = ("--rerank", tiny_reranker, "--rerank-depth", 2, "--rerank-share", 1)
    report = tmp_path / "o.json"
    asked = ("evaluate", data, "-s", "dev", "-m", "bm25", *options, "--part-tokens", 16)
    done = run(*asked, *rerank, "--json", report)
    assert done.code == 0, done.err
    found = json.loads(report.read_text(encoding="utf-8"))["results"]
    names = [f"{n}{parts}" for n in ("bm25", options[1]) for parts in ("", ", parts of 16")]
    assert [each["model"] for each in found] == [*names, *(f"{n}+{tiny_reranker}" for n in names)]
    # Only the first two change places: as many are found as before.
    for before, after in zip(found[:4], found[4:], strict=True):
        assert after["settings"]["rerank_depth"] == 2
        assert after["settings"]["rerank_share"] == 1
        assert after["metrics"]["Recall@1000"] == before["metrics"]["Recall@1000"]
    for wrong in (("--rerank-depth", 0), ("--rerank-share", 2), ("--rerank", options[1])):
        done = run("evaluate", data, "-s", "dev", "-m", "bm25", *rerank, *wrong)
        assert done.code in (1, 2)
        assert done.err.startswith("corom: ")


def test_wrong_usage_is_told(run: Callable, data: Path, options: tuple, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong in (
        (tmp_path / "nowhere", "-s", "dev"),
        (tmp_path / "empty", "-s", "dev"),
        (data, "-s", "dev", "--plot", "p.gif"),
        (data, "-s", "dev", "--truncate-dim", 99),
        (data, "-s", "dev", "--against", "bm25"),
    ):
        done = run("evaluate", *wrong, *options)
        assert done.code == 2
        assert done.err.startswith("corom: ")
    assert not (tmp_path / "work").exists()
    assert run("evaluate", data, "-s", "dev", "-m", "./none").code == 1


@pytest.mark.parametrize(
    "wrong", [("-s", "train"), ("--measure", "Hits"), ("--measure", "MRR@10", "--depth", 5)]
)
def test_what_cannot_be_measured_is_told_before_a_model_is_loaded(
    run: Callable, data: Path, wrong: tuple
) -> None:
    split = () if "-s" in wrong else ("-s", "dev")
    done = run("evaluate", data, *split, *wrong, "-m", "./none")
    assert done.code == 2
    assert "none" not in done.err


def test_files_that_cannot_be_written_are_said_before_the_work(
    run: Callable, data: Path, options: tuple, tmp_path: Path
) -> None:
    asked = ("evaluate", data, "--split", "dev", *options)
    for flag in ("--json", "--markdown", "--per-query", "--plot"):
        done = run(*asked, "--work", tmp_path / "kept", flag, data)
        assert done.refuses("is a folder; name a file")
    done = run(*asked, "--work", tmp_path / "kept", "--json", data / "corpus.tsv" / "x.json")
    assert done.refuses("corpus.tsv is no folder")
    done = run(*asked, "--work", tmp_path / "kept", "--per-query", data / "corpus.tsv")
    assert done.refuses("is the input itself")
    queries = data / "dev.query.txt"
    queries.write_text(queries.read_text("utf-8").replace("1\t", "q 1\t", 1), encoding="utf-8")
    done = run(*asked, "--work", tmp_path / "kept", "--runs", tmp_path / "runs")
    assert done.refuses("'q 1' cannot stand in a run")
    assert not (tmp_path / "kept").exists()
