"""No text that a model is judged by is trained on: the data beside the checkout, where it is."""

from __future__ import annotations

import json
import lzma
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"
PAIRS, GRADED = DATA / "train" / "pairs.jsonl.xz", DATA / "train" / "graded.jsonl.xz"

pytestmark = pytest.mark.slow
needs_data = pytest.mark.skipif(not PAIRS.exists(), reason=f"{DATA} is not on this machine")


def bare(text: str) -> str:
    """The letters and digits of a text: what is left of it when it is copied carelessly."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


def rows(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n").split("\t")


def judged(folder: Path) -> tuple[set[str], set[str]]:
    """The queries of a set, and the passages that answer them."""
    queries = {bare(row[1]) for path in folder.glob("*.query.txt") for row in rows(path)}
    answers = {row[2] for path in folder.glob("qrels.*.tsv") for row in rows(path)}
    return queries, {bare(row[1]) for row in rows(folder / "corpus.tsv") if row[0] in answers}


@needs_data
def test_no_judged_question_or_answer_is_a_training_pair():
    queries, answers = judged(DATA / "eval" / "open-medical")
    assert len(queries) > 1900
    assert len(answers) > 1900
    with lzma.open(PAIRS, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            pair = json.loads(line)
            both = bare(pair["query"]) in queries, bare(pair["positive"]) in answers
            assert both != (True, True), f"{PAIRS}:{number}"
            assert not both[1], f"{PAIRS}:{number}: a judged answer is a positive"


@needs_data
def test_no_judged_pair_of_questions_is_a_graded_pair():
    known = {
        frozenset((bare(row[0]), bare(row[1])))
        for path in (DATA / "eval" / "question-pairs").glob("*.tsv")
        for row in rows(path)
    }
    assert len(known) > 3000
    with lzma.open(GRADED, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            pair = json.loads(line)
            texts = frozenset((bare(pair["query"]), bare(pair["positive"])))
            assert texts not in known, f"{GRADED}:{number}"
