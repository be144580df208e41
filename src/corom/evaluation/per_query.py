"""Every query's figures in a file, for whoever wants to look at single queries or test them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corom.evaluation.evaluate import Report
from corom.readers.writing import table_cell, write_lines


def write_per_query(report: Report, path: Path) -> None:
    """Write a table: split, model, query and its measures, separated by tabs, under a head.

    Measures are fractions of one, to the last bit; a query that a run misses has 0. Rows are in
    the order of the report, then of the qrels. The name may end in .gz, .xz or .zst. Raises
    InputError for a name or an id that holds a tab or a line break.
    """
    write_lines(path, _lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield "\t".join(("split", "model", "query", *report.measures))
    for result in report.results:
        names = table_cell(result.split), table_cell(result.model)
        for query, values in result.evaluation.per_query.items():
            figures = (repr(values[measure]) for measure in report.measures)
            yield "\t".join((*names, table_cell(query), *figures))
