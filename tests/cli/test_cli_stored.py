"""evaluate --index: an index that is there already, made from the corpus or from shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.test_cli_evaluate import data

__all__ = ["data"]


@pytest.mark.parametrize("sharded", [False, True])
def test_an_index_of_this_corpus_is_measured_and_no_other(
    run: Callable, model: Path, data: Path, tmp_path: Path, sharded: bool
) -> None:
    source, index = data, tmp_path / "index"
    if sharded:
        source = tmp_path / "vectors"
        done = run("encode", data, "--out", source, "-m", model, "--precision", "fp32")
        assert done.code == 0, done.err
    options = () if sharded else ("-m", model, "--precision", "fp32")
    assert run("index", source, "--to", index, *options).code == 0
    asked = ("evaluate", data, "--split", "dev", "--index", index, "--precision", "fp32")
    done = run(*asked)
    assert done.code == 0, done.err
    model_run = run(
        *("evaluate", data, "--split", "dev", "-m", model, "--precision", "fp32"),
        *("--work", tmp_path / "work"),
    )
    rows = [line for line in (done.out + model_run.out).splitlines() if "[" in line]
    figures = [line.partition("  ")[2].split() for line in rows]
    assert len(figures) == 2
    assert figures[0] == figures[1]
    corpus = data / "corpus.tsv"
    text = corpus.read_text(encoding="utf-8")
    corpus.write_text(text.replace("咳嗽", "感冒"), encoding="utf-8")
    assert run(*asked).refuses("made of other passages")
    corpus.write_text(text + "7\t肺炎\n", encoding="utf-8")
    assert "holds 6 passages, the data set has 7" in run(*asked).err


def test_an_index_of_parts_is_measured_by_its_texts(
    run: Callable, model: Path, data: Path, tmp_path: Path
) -> None:
    corpus = data / "corpus.tsv"
    text = corpus.read_text(encoding="utf-8")
    corpus.write_text(text + "7\t" + "肺炎发热咳嗽。" * 9 + "\n", encoding="utf-8")
    index, options = tmp_path / "index", ("-m", model, "--precision", "fp32")
    done = run("index", data, "--to", index, *options, "--part-tokens", 16, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["passages"] > 7
    asked = ("evaluate", data, "--split", "dev", "--precision", "fp32")
    stored = run(*asked, "--index", index, "--runs", tmp_path / "stored")
    assert stored.code == 0, stored.err
    now = run(*asked, "-m", model, "--part-tokens", 16, "--runs", tmp_path / "now")
    assert now.code == 0, now.err
    files = [*(tmp_path / "stored").iterdir(), *(tmp_path / "now").glob("*parts-of-16.run")]
    runs = [
        [line.split()[:4] for line in file.read_text(encoding="utf-8").splitlines()]
        for file in files
    ]
    assert len(runs) == 2
    assert runs[0] == runs[1]
    assert runs[0]
