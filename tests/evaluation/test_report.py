from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from corom.errors import InputError
from corom.evaluation import (
    PairReport,
    Report,
    Result,
    plot_recall,
    require_plot,
    to_json,
    to_markdown,
    to_text,
    write_per_query,
)
from corom.evaluation.evaluate import Seconds
from corom.evaluation.pairs import PairResult, Threshold
from corom.metrics import Evaluation
from corom.significance import Interval, PairedTest


def result(split: str, model: str, *, p_value: float | None = None) -> Result:
    test = None if p_value is None else PairedTest(0.05, Interval(0.01, 0.09), p_value)
    return Result(
        split=split,
        model=model,
        settings={"dim": 8},
        evaluation=Evaluation({"MRR@10": 0.31874, "Recall@1": 0.2}, {"7": {"MRR@10": 0.31874}}),
        intervals={"MRR@10": Interval(0.29, 0.3449)},
        recall={1: 0.2, 10: 0.5},
        seconds=Seconds(1.23456, 2.0),
        versus=None if test is None else {"MRR@10": test},
    )


REPORT = Report(
    dataset="open",
    format="multi-cpr",
    checksum="c0ffee",
    passages=133_780,
    depth=1000,
    measures=("MRR@10",),
    against="bm25",
    results=(
        result("dev", "bm25"),
        result("dev", "a|b_c", p_value=0.009),
        result("test", "bm25"),
        result("test", "a|b_c", p_value=0.049),
    ),
)
PAIRS = PairReport(
    dataset="pairs",
    checksum="c0ffee",
    results=(
        PairResult(
            split="qq",
            model="m",
            settings={},
            pairs=3,
            means={"AUC": 0.5, "Spearman": -0.25},
            threshold=Threshold(0.82, 0.75),
        ),
    ),
)


def test_json_holds_fractions_and_everything_else() -> None:
    found = json.loads(json.dumps(to_json(REPORT), allow_nan=False))
    assert found["dataset"] == {
        "name": "open",
        "format": "multi-cpr",
        "checksum": "c0ffee",
        "passages": 133_780,
    }
    first, second = found["results"][:2]
    assert (first["split"], first["model"]) == ("dev", "bm25")
    assert first["metrics"] == {"MRR@10": 0.31874}
    assert first["intervals"] == {"MRR@10": [0.29, 0.3449]}
    assert first["recall"] == {"1": 0.2, "10": 0.5}
    assert (first["queries"], first["settings"]) == (1, {"dim": 8})
    assert first["seconds"] == {"indexing": 1.235, "searching": 2.0}
    assert "versus" not in first
    assert second["versus"]["MRR@10"] == {
        "difference": 0.05,
        "interval": [0.01, 0.09],
        "p_value": 0.009,
    }


def test_tables_are_in_percent_with_intervals_and_marks() -> None:
    lines = to_text(REPORT).splitlines()
    assert lines[:4] == [
        "open / dev",
        "model  MRR@10",
        "bm25   31.87 [29.0, 34.5]",
        "a|b_c  31.87 [29.0, 34.5]**",
    ]
    assert lines[8] == "a|b_c  31.87 [29.0, 34.5]*"
    assert "133,780 passages; dev: 1 queries, test: 1 queries." in lines
    assert "Against bm25" in lines[-1]


def test_columns_stand_below_each_other_whatever_the_names() -> None:
    rows = (replace(REPORT.results[0], model="微调模型v2"), REPORT.results[1])
    lines = to_text(replace(REPORT, results=rows)).splitlines()
    assert lines[1:4] == [
        "model       MRR@10",
        "微调模型v2  31.87 [29.0, 34.5]",
        "a|b_c       31.87 [29.0, 34.5]**",
    ]


def test_queries_without_hits_are_said() -> None:
    first, *rest = REPORT.results
    lacking = replace(first, evaluation=replace(first.evaluation, missing=2))
    said = "bm25 has no hits for 2 judged queries of dev, which count 0."
    assert said in to_text(replace(REPORT, results=(lacking, *rest))).splitlines()
    assert "no hits" not in to_text(REPORT)


def test_nothing_is_compared_with_itself_alone() -> None:
    alone = to_text(replace(REPORT, results=REPORT.results[:1]))
    assert alone.splitlines()[-1] == "In percent, with 95 % bootstrap intervals."


def test_markdown_escapes_what_it_would_read() -> None:
    page = to_markdown(REPORT)
    assert "### open / dev\n\n| model | MRR@10 |\n| --- | --- |\n| bm25 |" in page
    assert r"| a\|b\_c | 31.87 [29.0, 34.5]\*\* |" in page


def test_pairs_have_tables_too() -> None:
    assert "m      50.00  -25.00    0.820      75.00" in to_text(PAIRS)
    assert "| m | 50.00 | -25.00 | 0.820 | 75.00 |" in to_markdown(PAIRS)
    (row,) = to_json(PAIRS)["results"]
    assert row["metrics"] == {"AUC": 0.5, "Spearman": -0.25}
    assert (row["split"], row["model"], row["pairs"]) == ("qq", "m", 3)
    assert row["threshold"] == {"score": 0.82, "accuracy": 0.75}


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml")])
def test_recall_is_drawn(tmp_path: Path, name: str, start: bytes) -> None:
    pytest.importorskip("matplotlib")
    plot_recall(REPORT, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_plot_needs_a_name_that_says_its_format(tmp_path: Path) -> None:
    for name in ("plot", "plot.gif"):
        with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
            require_plot(tmp_path / name)


def report_of(*queries: str, model: str = "bm25") -> Report:
    values = {query: {"MRR@10": 1 / 3, "Recall@1": 0.0} for query in queries}
    evaluation = Evaluation({"MRR@10": 1 / 3, "Recall@1": 0.0}, values)
    first = replace(REPORT.results[0], model=model, evaluation=evaluation)
    return replace(REPORT, results=(first, *REPORT.results[1:2]))


def test_a_row_for_each_query_of_each_model(tmp_path: Path) -> None:
    write_per_query(report_of("9", "问 1", "10"), tmp_path / "new" / "q.tsv")
    assert (tmp_path / "new" / "q.tsv").read_text(encoding="utf-8").splitlines() == [
        "split\tmodel\tquery\tMRR@10",
        "dev\tbm25\t9\t0.3333333333333333",
        "dev\tbm25\t问 1\t0.3333333333333333",
        "dev\tbm25\t10\t0.3333333333333333",
        "dev\ta|b_c\t7\t0.31874",
    ]


def test_nothing_but_the_head(tmp_path: Path) -> None:
    write_per_query(replace(REPORT, results=()), tmp_path / "q.tsv")
    assert (tmp_path / "q.tsv").read_text(encoding="utf-8") == "split\tmodel\tquery\tMRR@10\n"


@pytest.mark.parametrize(
    "made", [report_of("a\tb"), report_of("a\nb"), report_of("1", model="m\r")]
)
def test_what_would_break_the_table_leaves_no_file(tmp_path: Path, made: Report) -> None:
    (tmp_path / "q.tsv").write_text("old", encoding="utf-8")
    with pytest.raises(InputError, match="a tab or a line break"):
        write_per_query(made, tmp_path / "q.tsv")
    assert (tmp_path / "q.tsv").read_text(encoding="utf-8") == "old"


def test_a_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.gz, \.xz or \.zst"):
        write_per_query(REPORT, tmp_path / "q.zip")
