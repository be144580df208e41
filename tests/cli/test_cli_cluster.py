from __future__ import annotations

import csv
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


def test_a_sheet_holds_every_row_in_order(
    run: Callable, model: Path, source: Path, tmp_path: Path
) -> None:
    sheet, texts = tmp_path / "labels.csv", [text for group in GROUPS for text in group]
    on = ("-m", model, "--precision", "fp32")
    records = json.loads(run("cluster", source, *on, "-n", 2, "-o", sheet, "--json").out)
    assert sheet.read_bytes().startswith("\ufeffid,text,group,label\r\n".encode())
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["text"]) for row in rows] == [
        (str(number), text) for number, text in enumerate(texts, 1)
    ]
    for row in rows:
        record = records[int(row["group"])]
        assert row["id"] in record["ids"]
        assert row["label"] == " ".join(record["keywords"])
    assert run("cluster", source, *on, "--density", "--least", 6, "-o", sheet).code == 0
    assert sheet.read_text("utf-8-sig").splitlines()[1] == f"1,{texts[0]},-1,"
    done = run("cluster", source, *on, "-n", 2, "-o", tmp_path / "labels.xlsx")
    assert done.refuses("name it .csv")


def test_a_sheet_with_titles_and_without_formulas(
    run: Callable, model: Path, tmp_path: Path
) -> None:
    source, sheet = tmp_path / "a.csv", tmp_path / "labels.csv"
    source.write_text('id,title,text\n-1,,"=头痛\n三天"\nb,标题,+发热\n', encoding="utf-8")
    done = run("cluster", source, "-m", model, "-n", 1, "-o", sheet)
    assert (done.code, "   [-1] =头痛 三天\n" in done.out) == (0, True)
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "title", "text", "group", "label"]
    assert [row[:3] for row in rows] == [["'-1", "", "'=头痛\n三天"], ["b", "标题", "'+发热"]]


def test_labels_that_cannot_be_written(
    run: Callable, model: Path, source: Path, tmp_path: Path
) -> None:
    options = ("-m", model, "--precision", "fp32", "-n", 1)
    before = source.read_bytes()
    assert run("cluster", source, *options, "-o", source).refuses("is the input itself")
    assert source.read_bytes() == before
    odd = tmp_path / "odd.jsonl"
    odd.write_text(json.dumps({"id": "a\tb", "text": "头痛"}))
    assert run("cluster", odd, *options, "-o", tmp_path / "labels.tsv").refuses("holds a tab")
    assert not (tmp_path / "labels.tsv").exists()


def test_density_and_wrong_choices(run: Callable, model: Path, source: Path) -> None:
    done = run("cluster", source, "-m", model, "--density", "--least", 6)
    assert done.out == "0 groups of 5 texts; 5 in none\n"
    assert "5 of 5 texts are in no group" in done.err
    assert "--least, which is 6" in done.err
    assert "in no group" not in run("cluster", source, "-m", model, "-n", 1).err
    assert run("cluster", source, "-m", model).code == 2
    assert run("cluster", source, "-m", model, "-n", 2, "--density").code == 2
    for wrong, said in (
        (("-n", 6), "5 texts cannot make 6 groups"),
        (("-n", 0), "5 texts cannot make 0 groups"),
        (("-n", 2, "--seed", -1), "--seed is -1"),
        (("--density", "--least", 1), "--least is 1"),
    ):  # said before a model is loaded
        assert run("cluster", source, "-m", "./none", *wrong).refuses(said)
    for wrong in ("-n", 2, "--least", 3), ("--density", "--seed", 0):
        assert run("cluster", source, "-m", model, *wrong).refuses("--least belongs to --density")
