"""Measures against ten-line definitions, and the traps of measuring."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import InputError, MissingExtraError
from corom.metrics import evaluate_run
from corom.ranking import rank_hits
from corom.records import Hit, Qrel

QRELS = [Qrel("1", "3", 1), Qrel("2", "5", 1), Qrel("3", "7", 1)]


def hits(*ids: str) -> list[Hit]:
    return [Hit(id_, -float(place)) for place, id_ in enumerate(ids)]


def naive(name: str, ranked: list[str], grades: dict[str, int]) -> float:
    measure, _, cut = name.partition("@")
    gains = [grades.get(id_, 0) for id_ in ranked][: int(cut) if cut else None]
    found = [max(gain, 0) > 0 for gain in gains]
    relevant = sum(grade > 0 for grade in grades.values())
    best = sorted((max(grade, 0) for grade in grades.values()), reverse=True)
    best = best[: int(cut) if cut else None]

    def dcg(values: list[int]) -> float:
        return sum(max(v, 0) / math.log2(rank + 1) for rank, v in enumerate(values, 1))

    precisions = [sum(found[:rank]) / rank for rank in range(1, len(found) + 1)]
    return {
        "MRR": lambda: next((1 / rank for rank, hit in enumerate(found, 1) if hit), 0.0),
        "Recall": lambda: sum(found) / relevant,
        "Success": lambda: float(any(found)),
        "Precision": lambda: sum(found) / int(cut),
        "MAP": lambda: sum(p for p, hit in zip(precisions, found, strict=True) if hit) / relevant,
        "nDCG": lambda: dcg(gains) / dcg(best),
    }[measure]()


MEASURES = [
    *("MRR@3", "MRR", "Recall@3", "Recall@1000", "Success@1", "Precision@5"),
    *("MAP@3", "MAP", "nDCG@3", "nDCG@10", "nDCG"),
]
IDS = st.integers(1, 15).map(str)
GRADES = st.dictionaries(IDS, st.integers(-1, 4), min_size=1).filter(lambda g: max(g.values()) > 0)
SCORES = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, -1.0, 1e-42])


@given(
    scores=st.dictionaries(st.sampled_from("ab"), st.dictionaries(IDS, SCORES, max_size=12)),
    judged=st.dictionaries(st.sampled_from("abc"), GRADES, min_size=1),
)
def test_every_measure_is_its_definition(
    scores: dict[str, dict[str, float]], judged: dict[str, dict[str, int]]
) -> None:
    run = {query: [Hit(*pair) for pair in found.items()] for query, found in scores.items()}
    qrels = [Qrel(q, id_, grade) for q, grades in judged.items() for id_, grade in grades.items()]
    evaluation = evaluate_run(run, qrels, measures=MEASURES)
    for query, grades in judged.items():
        ranked = [hit.id for hit in rank_hits(run.get(query, []))]
        expected = {name: naive(name, ranked, grades) for name in MEASURES}
        assert evaluation.per_query[query] == pytest.approx(expected, abs=1e-9)
    for name in MEASURES:
        values = [naive(name, [h.id for h in rank_hits(run.get(q, []))], judged[q]) for q in judged]
        assert evaluation.means[name] == pytest.approx(sum(values) / len(values), abs=1e-9)
        assert evaluation.values(name).tolist() == pytest.approx(values, abs=1e-9)


def test_ties_go_to_the_smaller_number_whatever_the_measure() -> None:
    tied = [Hit("10", 1.0), Hit("9", 1.0), Hit("x", 1.0)]
    for relevant, rank in (("9", 1), ("10", 2), ("x", 3)):
        qrels = [Qrel("1", relevant, 1)]
        means = evaluate_run({"1": tied}, qrels, measures=["MRR@10", "MRR", "MAP", "nDCG@10"]).means
        assert means["MRR@10"] == means["MRR"] == means["MAP"] == pytest.approx(1 / rank)
        assert means["nDCG@10"] == pytest.approx(1 / math.log2(rank + 1))


def test_missing_queries_count_as_zero_and_others_are_counted() -> None:
    qrels = [*QRELS, Qrel("4", "1", 0), Qrel("5", "1", -1)]
    run = {"1": hits("3"), "2": [], "4": hits("1"), "unknown": hits("1")}
    evaluation = evaluate_run(run, qrels, measures=["MRR@10"])
    assert evaluation.per_query == {q: {"MRR@10": float(q == "1")} for q in "123"}
    assert evaluation.means == {"MRR@10": pytest.approx(1 / 3)}
    assert (evaluation.missing, evaluation.excluded, evaluation.ignored) == (1, 2, 1)
    assert evaluation.queries == 3


def test_an_empty_run_is_zero() -> None:
    evaluation = evaluate_run({}, QRELS)
    assert set(evaluation.means) == {"MRR@10", "Recall@1000", "nDCG@10", "MAP"}
    assert set(evaluation.means.values()) == {0.0}
    assert evaluation.missing == 3


def test_grade_one_is_relevant_and_grades_are_gains() -> None:
    qrels = [Qrel("1", "1", 1), Qrel("1", "2", 3), Qrel("1", "3", 0)]
    means = evaluate_run({"1": hits("3", "1", "2")}, qrels, measures=["MRR@10", "nDCG@10"]).means
    best = 3 + 1 / math.log2(3)
    assert means["MRR@10"] == 0.5
    assert means["nDCG@10"] == pytest.approx((1 / math.log2(3) + 3 / 2) / best)


def test_a_cutoff_cuts() -> None:
    run = {"1": hits(*(str(n) for n in range(100, 120)), "3")}
    means = evaluate_run(run, QRELS[:1], measures=["MRR@10", "MRR@21", "Recall@20", "Recall@21"])
    assert list(means.means.values()) == [0.0, pytest.approx(1 / 21), 0.0, 1.0]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"1": [Hit("3", float("nan"))]}, "NaN"),
        ({"1": [Hit("3", 1.0), Hit("3", 0.5)]}, "twice"),
    ],
)
def test_bad_runs_are_refused(run: dict[str, list[Hit]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_run(run, QRELS)


@pytest.mark.parametrize("qrels", [[], [Qrel("1", "3", 0)]])
def test_qrels_without_relevance_are_refused(qrels: list[Qrel]) -> None:
    with pytest.raises(InputError, match="no relevant passage"):
        evaluate_run({"1": hits("3")}, qrels)


def test_two_judgements_of_one_pair_are_refused() -> None:
    with pytest.raises(InputError, match="judged twice"):
        evaluate_run({}, [Qrel("1", "3", 1), Qrel("1", "3", 0)])


@pytest.mark.parametrize(
    "measures",
    [
        ["mrr@10"],
        ["MRR@0"],
        ["MRR@-1"],
        ["MRR@x"],
        ["MRR@"],
        ["Recall"],
        ["RR@10"],
        ["MRR@10 "],
        [""],
        [],
        ["MRR@10", "MRR@10"],
    ],
)
def test_unknown_measures_are_refused(measures: list[str]) -> None:
    with pytest.raises(InputError, match="measure"):
        evaluate_run({}, QRELS, measures=measures)


def test_values_of_another_measure_are_refused() -> None:
    with pytest.raises(InputError, match="was not measured"):
        evaluate_run({}, QRELS, measures=["MRR"]).values("MAP")


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"corom\[eval\]"):
        evaluate_run({}, QRELS)


def test_importing_measures_nothing() -> None:
    code = (
        "import sys, corom.metrics, corom.significance, corom.runs, corom.readers;"
        "print({'pandas', 'ir_measures', 'scipy', 'zstandard'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
