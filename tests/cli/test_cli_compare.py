"""rank and similarity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from corom.encoder import Encoder

QUERY, TEXTS = "糖尿病吃什么", ["饮食治疗", "头痛发热", "高血压患者"]


@pytest.fixture
def encoder(model: Path) -> Encoder:
    return Encoder.load(model, precision="fp32")


def test_rank_orders_by_the_dot_product(run: Callable, on: tuple, encoder: Encoder) -> None:
    hits = json.loads(run("rank", QUERY, *TEXTS, *on, "--json").out)
    expected = encoder.encode_passages(TEXTS) @ encoder.encode_queries([QUERY])[0]
    assert [hit["id"] for hit in hits] == [str(n + 1) for n in np.argsort(-expected)]
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(expected, reverse=True), rel=1e-4)
    assert hits[0]["text"] == TEXTS[int(hits[0]["id"]) - 1]
    page = run("rank", QUERY, *TEXTS, *on, "-k", 2).out.splitlines()
    assert run("rank", QUERY, "头痛\n 三天", *on).out.endswith("[1]  头痛 三天\n")
    assert len(page) == 2
    assert page[0].split() == [
        "1",
        f"{hits[0]['score']:.4f}",
        f"[{hits[0]['id']}]",
        hits[0]["text"],
    ]


def test_rank_reads_files_and_standard_input(run: Callable, on: tuple, tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text("".join(f"p{n}\t{text}\n" for n, text in enumerate(TEXTS)), encoding="utf-8")
    ids = {hit["id"] for hit in json.loads(run("rank", QUERY, "-f", path, *on, "--json").out)}
    assert ids == {"p0", "p1", "p2"}
    stdin = "\n".join(TEXTS).encode()
    assert len(run("rank", QUERY, "-f", "-", *on, stdin=stdin).out.splitlines()) == 3
    assert run("rank", QUERY, "-f", "-", *on, "--json").out == "[]\n"
    for wrong in ((), ("a", "-f", path)):
        assert run("rank", QUERY, *wrong, *on).code == 2
    assert run("rank", QUERY, "a", "-k", 0, *on).code == 2


def test_a_matrix(run: Callable, on: tuple, encoder: Encoder, tmp_path: Path) -> None:
    vectors = encoder.encode_passages(TEXTS)
    matrix = json.loads(run("similarity", *TEXTS, *on, "--json").out)
    np.testing.assert_allclose(matrix, vectors @ vectors.T, rtol=1e-4)
    page = run("similarity", *TEXTS, *on, "--score", "cosine").out
    rows = np.array([[float(value) for value in row.split("\t")] for row in page.splitlines()])
    np.testing.assert_allclose(np.diag(rows), 1)
    path = tmp_path / "t.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    assert run("similarity", "-f", path, *on, "--score", "cosine").out == page


def test_pairs(run: Callable, on: tuple, encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("头痛\t头疼\n发热\t高血压\n", encoding="utf-8")
    left, right = (
        encoder.encode_passages(texts) for texts in (["头痛", "发热"], ["头疼", "高血压"])
    )
    expected = np.linalg.norm(left - right, axis=1)
    scores = json.loads(run("similarity", "--pairs", path, *on, "--score", "l2", "--json").out)
    np.testing.assert_allclose(scores, expected, rtol=1e-3)
    page = run("similarity", "--pairs", path, *on, "--score", "l2").out.splitlines()
    assert page[1].split("\t") == [f"{scores[1]:.4f}", "发热", "高血压"]


def test_what_is_close(
    run: Callable, on: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "questions.tsv"
    path.write_text("q1\t头痛\nq2\t发热咳嗽\nq3\t头痛\n", encoding="utf-8")
    asked = ("similarity", "-f", path, *on, "--score", "cosine", "--above", 0.9999)
    assert run(*asked).out.splitlines() == ["1.0000\tq1\tq3\t头痛\t头痛"]
    found = json.loads(run(*asked, "--json").out)
    assert (found["left"], found["right"]) == ("q1", "q3")
    done = run("similarity", "头痛", "头疼", *on, "--above", 0.5)
    assert done.refuses("--above belongs to --file")
    monkeypatch.setattr("corom.cli.similarity.MOST", 2)
    assert run("similarity", "-f", path, *on).refuses("3 texts make a matrix of 9 scores")
    assert run(*asked).code == 0


def test_similarity_takes_one_kind_of_input(run: Callable, on: tuple, tmp_path: Path) -> None:
    assert run("similarity", *on).code == 2
    assert run("similarity", "a", "b", "-f", tmp_path, *on).code == 2
    assert run("similarity", "a", "b", *on, "--score", "euclid").code == 2


def test_odd_text_in_arguments(run: Callable, on: tuple) -> None:
    done = run("rank", "\udce5头", "\udcff", "😷", *on)
    assert done.code == 0
    assert len(done.out.splitlines()) == 2


def test_pairs_of_several_lines_are_a_line_each(run: Callable, on: tuple, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"query": "头痛\n三天", "positive": "发\t热"}))
    done = run("similarity", "--pairs", path, *on)
    assert done.out.split("\t")[1:] == ["头痛 三天", "发 热\n"]
