from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from corom.errors import InputError
from corom.evaluation import Report, write_per_query
from corom.metrics import Evaluation
from evaluation.test_report import REPORT


def report(*queries: str, model: str = "bm25") -> Report:
    values = {query: {"MRR@10": 1 / 3, "Recall@1": 0.0} for query in queries}
    evaluation = Evaluation({"MRR@10": 1 / 3, "Recall@1": 0.0}, values)
    first = replace(REPORT.results[0], model=model, evaluation=evaluation)
    return replace(REPORT, results=(first, *REPORT.results[1:2]))


def test_a_row_for_each_query_of_each_model(tmp_path: Path) -> None:
    write_per_query(report("9", "问 1", "10"), tmp_path / "new" / "q.tsv")
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


@pytest.mark.parametrize("made", [report("a\tb"), report("a\nb"), report("1", model="m\r")])
def test_what_would_break_the_table_leaves_no_file(tmp_path: Path, made: Report) -> None:
    (tmp_path / "q.tsv").write_text("old", encoding="utf-8")
    with pytest.raises(InputError, match="a tab or a line break"):
        write_per_query(made, tmp_path / "q.tsv")
    assert (tmp_path / "q.tsv").read_text(encoding="utf-8") == "old"


def test_a_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.gz, \.xz or \.zst"):
        write_per_query(REPORT, tmp_path / "q.zip")
