from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

GROUPS = (["糖尿病饮食", "糖尿病治疗", "糖尿病注意"], ["头痛发热咳嗽", "头痛发热咳"])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(text for group in GROUPS for text in group), encoding="utf-8")
    return path


def test_a_report_and_labels(run: Callable, model: Path, source: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.tsv"
    options = ("-m", model, "--precision", "fp32", "-n", 2)
    done = run("cluster", source, *options, "-o", labels)
    assert done.code == 0
    assert done.out.startswith("2 groups of 5 texts; 0 in none\n")
    found = dict(line.split("\t") for line in labels.read_text().splitlines())
    records = json.loads(run("cluster", source, *options, "--json").out)
    for number, record in enumerate(records):
        assert {id_ for id_, label in found.items() if label == str(number)} == set(record["ids"])
        assert record["size"] == len(record["ids"])
        assert record["medoid"] in [text for group in GROUPS for text in group]
        assert f"{number}: {record['size']} texts" in done.out


def test_labels_that_cannot_be_written(
    run: Callable, model: Path, source: Path, tmp_path: Path
) -> None:
    options = ("-m", model, "--precision", "fp32", "-n", 1)
    before = source.read_bytes()
    done = run("cluster", source, *options, "-o", source)
    assert (done.code, "is the input itself" in done.err) == (2, True)
    assert source.read_bytes() == before
    odd = tmp_path / "odd.jsonl"
    odd.write_text(json.dumps({"id": "a\tb", "text": "头痛"}))
    done = run("cluster", odd, *options, "-o", tmp_path / "labels.tsv")
    assert (done.code, "holds a tab" in done.err) == (2, True)
    assert not (tmp_path / "labels.tsv").exists()


def test_density_and_wrong_choices(run: Callable, model: Path, source: Path) -> None:
    done = run("cluster", source, "-m", model, "--density", "--least", 6)
    assert done.out == "0 groups of 5 texts; 5 in none\n"
    assert run("cluster", source, "-m", model).code == 2
    assert run("cluster", source, "-m", model, "-n", 2, "--density").code == 2
    assert run("cluster", source, "-m", model, "-n", 6).code == 2
