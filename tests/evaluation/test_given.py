from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corom.errors import FormatError, InputError
from corom.evaluation import Dense, Given, evaluate, reranked, run_name, to_text
from corom.readers import Dataset
from corom.records import Hit, Passage, Query
from corom.reranker import Reranker, SecondPass
from corom.runs import read_trec_run, write_ms_marco_run

PASSAGES = [Passage(id_, "头痛") for id_ in ("9", "10", "a")]
QUERIES = [Query("1", "糖尿病"), Query("2", "咳嗽")]
LINES = ["1 Q0 a 1 0.5 t", "1 Q0 10 2 0.75 t", "1 Q0 9 3 0.5 t"]


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_hits_are_ranked_by_score_and_the_one_rule(tmp_path: Path) -> None:
    row = Given(written(tmp_path / "theirs.trec", *LINES), QUERIES)
    index = row.index(iter(PASSAGES))
    assert (row.name, len(index)) == ("theirs.trec", 3)
    assert index.search(QUERIES, 2) == [[Hit("10", 0.75), Hit("9", 0.5)], []]
    assert index.search(QUERIES[1:], 2) == [[]]


def test_of_ms_marco_ranks_count(tmp_path: Path) -> None:
    row = Given(written(tmp_path / "run.tsv", "1\ta\t2", "1\t9\t1"), QUERIES)
    found = row.index(PASSAGES).search(QUERIES, 10)
    assert [[hit.id for hit in hits] for hits in found] == [["9", "a"], []]


def test_what_is_of_another_data_set_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "run", *LINES, "3 Q0 a 1 0.5 t", "4 Q0 a 1 0.5 t")
    with pytest.raises(InputError, match="2 queries that the split has not, such as '3'"):
        Given(path, QUERIES)
    with pytest.raises(InputError, match="1 passages that the data set has not, such as '10'"):
        Given(written(path, *LINES), QUERIES).index([PASSAGES[0], PASSAGES[2]])
    with pytest.raises(FormatError, match="2 columns"):
        Given(written(path, "1 a"), QUERIES)
    with pytest.raises(InputError, match="not a file"):
        Given(tmp_path / "none", QUERIES)


def test_queries_without_hits_are_said(data: Dataset, tmp_path: Path) -> None:
    queries = list(data.queries("dev"))
    path = written(tmp_path / "run", f"{queries[0].id} Q0 {next(data.passages()).id} 1 1 t")
    report = evaluate(data, [Given(path, queries)], splits=["dev"])
    [result] = report.results
    lacking = result.evaluation.queries - 1
    assert result.evaluation.missing == lacking > 0
    assert f"run has no hits for {lacking} judged queries of dev, which count 0" in to_text(report)


@pytest.mark.parametrize("form", ["trec", "ms marco"])
def test_a_run_of_ours_read_again_has_the_same_figures(
    data: Dataset, dense: Callable[..., Dense], tmp_path: Path, form: str
) -> None:
    evaluate(data, [dense()], splits=["dev"], runs=tmp_path)
    path = tmp_path / run_name("dev", "tiny")
    if form == "ms marco":
        write_ms_marco_run(path, read_trec_run(path))
    rows = [dense(), Given(path, data.queries("dev"))]
    report = evaluate(data, rows, splits=["dev"], runs=tmp_path / "again")
    own, again = report.results
    assert (again.model, again.evaluation) == ("dev.tiny.run", own.evaluation)
    assert again.recall == own.recall
    assert again.versus is not None
    assert {(test.difference, test.p_value) for test in again.versus.values()} == {(0, 1)}
    assert len(list((tmp_path / "again").iterdir())) == 2


def test_a_reranker_reads_its_first_hits(tmp_path: Path, tiny_reranker: Path) -> None:
    second = SecondPass(reranker=Reranker.load(tiny_reranker, precision="fp32"), depth=2)
    row = reranked(Given(written(tmp_path / "run", *LINES), QUERIES), second)
    [hits, nothing] = row.index(PASSAGES).search(QUERIES, 3)
    assert [hit.id for hit in hits] == ["10", "9", "a"]
    assert (nothing, row.name) == ([], f"run+{second.reranker.name}")
