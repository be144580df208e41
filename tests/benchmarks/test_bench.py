"""What benchmarks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import ROOT, command_line, spread, table


@pytest.mark.parametrize("name", ["--json", "--out", "--output"])
def test_the_option_for_the_figures_has_each_of_its_names(name: str) -> None:
    assert command_line("").parse_args([name, "a.json"]).json == Path("a.json")


def test_figures_go_to_results_or_nowhere_by_default() -> None:
    assert command_line("", "a.json").parse_args([]).json == ROOT / "results/a.json"
    assert command_line("").parse_args([]).json is None


def test_ratios_are_taken_within_a_round() -> None:
    assert spread([2.0, 40.0], [1.0, 10.0]) == {"median": 3.0, "least": 2.0, "most": 4.0}
    with pytest.raises(ValueError, match="zip"):
        spread([2.0], [1.0, 10.0])


def test_a_table_has_a_column_for_every_number() -> None:
    rows = [{"name": "a", "memory": {"own": 1.0, "mapped": 2.34567}, "seconds": [3.0, 2.0]}]
    head, line, row = table(rows).splitlines()
    assert head == "| name | memory own | memory mapped | seconds |"
    assert line == "| ---- | ---------- | ------------- | ------- |"
    assert row == "| a    | 1          | 2.346         | 2       |"


def test_a_table_of_nothing_is_empty() -> None:
    assert table([]).strip("| \n") == ""
