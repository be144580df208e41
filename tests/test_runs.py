"""Runs and qrels on disk, and what outside tools make of them."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corom.errors import FormatError, InputError
from corom.metrics import evaluate_run
from corom.ranking import rank_hits
from corom.records import Hit, Qrel
from corom.runs import (
    falling_scores,
    read_ms_marco_run,
    read_qrels,
    read_run,
    read_trec_run,
    write_ms_marco_run,
    write_qrels,
    write_trec_run,
)

RUN = {
    "1": [Hit("9", 0.5), Hit("10", 0.5), Hit("b", 0.5), Hit("2", 0.75)],
    "2": [Hit("1", -3.0)],
    "3": [],
}


def test_a_trec_run_is_written_in_rank_order_with_falling_scores(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_trec_run(path, RUN)
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    assert [(line[0], line[1], line[2], line[3], line[5]) for line in lines] == [
        ("1", "Q0", "2", "1", "corom"),
        ("1", "Q0", "9", "2", "corom"),
        ("1", "Q0", "10", "3", "corom"),
        ("1", "Q0", "b", "4", "corom"),
        ("2", "Q0", "1", "1", "corom"),
    ]
    scores = [float(line[4]) for line in lines[:4]]
    assert scores[:2] == [0.75, 0.5]
    assert scores[1] > scores[2] > scores[3] > 0.4999998


def test_an_ms_marco_run_is_written_in_rank_order_with_ranks_from_one(tmp_path: Path) -> None:
    path = tmp_path / "run.tsv"
    write_ms_marco_run(path, RUN)
    assert path.read_text() == "1\t2\t1\n1\t9\t2\n1\t10\t3\n1\tb\t4\n2\t1\t1\n"
    assert read_ms_marco_run(path)["1"][-1] == Hit("b", -4.0)


def test_exact_scores_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "run.trec.gz"
    write_trec_run(path, RUN, scores="exact", tag="bm25")
    assert read_trec_run(path) == {q: rank_hits(hits) for q, hits in RUN.items() if hits}


FINITE = st.floats(-1e30, 1e30, width=64) | st.sampled_from([0.0, -0.0, 1.0, 1e-40, -1e-45, 0.1])
RUNS = st.dictionaries(
    st.sampled_from(["1", "2", "q"]),
    st.dictionaries(st.integers(0, 40).map(str), FINITE, max_size=12).map(
        lambda scores: [Hit(id_, score) for id_, score in scores.items()]
    ),
    max_size=3,
)


@settings(max_examples=30)
@given(RUNS)
def test_any_run_keeps_its_order_and_with_exact_scores_its_scores(
    tmp_path_factory: pytest.TempPathFactory, run: dict[str, list[Hit]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "run"
    ranked = {query: rank_hits(hits) for query, hits in run.items() if hits}
    write_trec_run(path, run, scores="exact")
    assert read_trec_run(path) == ranked
    write_trec_run(path, run)
    order = {query: [hit.id for hit in hits] for query, hits in ranked.items()}
    back = read_trec_run(path)
    assert {query: [hit.id for hit in hits] for query, hits in back.items()} == order
    for hits in back.values():
        assert (np.diff(np.float32([hit.score for hit in hits])) < 0).all()
    write_ms_marco_run(path, run)
    ms_marco = read_ms_marco_run(path)
    assert {query: [hit.id for hit in hits] for query, hits in ms_marco.items()} == order


@given(st.lists(FINITE, max_size=30).map(lambda scores: sorted(scores, reverse=True)))
def test_falling_scores_fall_and_stay_near(scores: list[float]) -> None:
    fallen = falling_scores(scores)
    assert (np.diff(np.float32(fallen)) < 0).all()
    assert (np.diff(fallen) < 0).all()
    for old, new in zip(scores, fallen, strict=True):
        assert new <= old
        assert new >= old - max(abs(old), 1e-20) * 1e-5
    singles = np.float32(scores)
    if (np.diff(singles) < 0).all():
        assert fallen == scores


def test_ties_at_zero_do_not_become_subnormal() -> None:
    fallen = falling_scores([0.0] * 1000)
    assert min(abs(score) for score in fallen[1:]) > np.finfo(np.float32).tiny


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_scores_no_tool_can_hold_are_refused(tmp_path: Path, score: float) -> None:
    for scores in ("falling", "exact"):
        with pytest.raises(InputError):
            write_trec_run(tmp_path / "run", {"1": [Hit("1", score)]}, scores=scores)
    assert list(tmp_path.iterdir()) == []


def test_rising_scores_are_refused() -> None:
    with pytest.raises(InputError, match="rank order"):
        falling_scores([1.0, 2.0])


@pytest.mark.parametrize("bad", ["", "a b", "a\tb", " a", "a\u3000b"])
def test_ids_with_white_space_are_refused(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "run"
    for run in ({bad: [Hit("1", 1.0)]}, {"1": [Hit(bad, 1.0)]}):
        for write in (write_trec_run, write_ms_marco_run):
            with pytest.raises(InputError, match="white space"):
                write(path, run)
    with pytest.raises(InputError, match="white space"):
        write_trec_run(path, RUN, tag=bad)
    with pytest.raises(InputError, match="white space"):
        write_qrels(path, [Qrel("1", bad, 1)])


@pytest.mark.parametrize("write", [write_trec_run, write_ms_marco_run])
def test_repeated_passages_are_refused(tmp_path: Path, write: object) -> None:
    with pytest.raises(InputError, match="twice"):
        write(tmp_path / "run", {"1": [Hit("1", 1.0), Hit("1", 0.5)]})  # type: ignore[operator]


@pytest.mark.parametrize(
    "line", ["1 Q0 5 2 0.5", "1 Q0 5 2 x t", "1 Q0 5 2 nan t", "1 Q0 5 2 inf t", "1 Q0 4 2 1 t"]
)
def test_bad_trec_lines(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run"
    path.write_text(f"1 Q0 4 1 0.9 t\n{line}\n")
    with pytest.raises(FormatError, match="line 2"):
        read_trec_run(path)


@pytest.mark.parametrize("line", ["1\t5", "1\t5\t0", "1\t5\tx", "1\t5\t1", "1\t4\t2"])
def test_bad_ms_marco_lines(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run"
    path.write_text(f"1\t4\t1\n{line}\n")
    with pytest.raises(FormatError, match="line 2"):
        read_ms_marco_run(path)


def test_scores_decide_and_ranks_do_not(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("1 Q0 10 1 0.5 t\n1\tQ0\t9\t2\t0.5\tt\n1 Q0 3 3 0.7 t\n")
    assert [hit.id for hit in read_trec_run(path)["1"]] == ["3", "9", "10"]


def test_the_first_line_says_of_which_form_a_run_is(tmp_path: Path) -> None:
    for name in ("run", "run.gz"):
        path = tmp_path / name
        write_trec_run(path, RUN)
        assert read_run(path) == read_trec_run(path)
        write_ms_marco_run(path, RUN)
        assert read_run(path) == read_ms_marco_run(path)
    path = tmp_path / "run"
    write_trec_run(path, {})
    assert read_run(path) == {}
    path.write_text("1 2 3\n1 Q0 10 1 0.5 t\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"line 2: has 6 columns instead of 3 \(query, passage"):
        read_run(path)


def test_empty_runs_and_qrels(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for write, read in ((write_trec_run, read_trec_run), (write_ms_marco_run, read_ms_marco_run)):
        write(path, {})
        assert read(path) == {}
    write_qrels(path, [])
    assert list(read_qrels(path)) == []


def test_qrels_survive(tmp_path: Path) -> None:
    qrels = [Qrel("1", "9", 1), Qrel("1", "10", 0), Qrel("q", "b", 3)]
    write_qrels(tmp_path / "qrels.dev.tsv", qrels)
    assert list(read_qrels(tmp_path / "qrels.dev.tsv")) == qrels


@settings(max_examples=40)
@given(
    run=RUNS,
    grades=st.dictionaries(
        st.tuples(st.sampled_from(["1", "2", "q"]), st.integers(0, 40).map(str)),
        st.integers(0, 4),
        min_size=1,
    ).filter(lambda grades: max(grades.values()) > 0),
)
def test_an_outside_tool_finds_our_figures_in_the_written_files(
    tmp_path_factory: pytest.TempPathFactory,
    run: dict[str, list[Hit]],
    grades: dict[tuple[str, str], int],
) -> None:
    folder = tmp_path_factory.mktemp("outside")
    with_relevant = {query for (query, _), grade in grades.items() if grade > 0}
    qrels = [Qrel(*pair, grade) for pair, grade in grades.items() if pair[0] in with_relevant]
    write_trec_run(folder / "run", run)
    write_qrels(folder / "qrels", qrels)
    ours = evaluate_run(run, qrels, measures=["MRR@10", "Recall@10", "nDCG@10", "MAP"]).means
    measures = [ir_measures.RR @ 10, ir_measures.R @ 10, ir_measures.nDCG @ 10, ir_measures.AP]
    theirs = ir_measures.calc_aggregate(
        measures,
        list(ir_measures.read_trec_qrels(str(folder / "qrels"))),
        list(ir_measures.read_trec_run(str(folder / "run"))),
    )
    for measure, value in zip(measures, ours.values(), strict=True):
        assert theirs[measure] == pytest.approx(value, abs=1e-9)
