"""Figures as JSON, as tables for a screen or a document, query by query, and a plot of recall."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from corom import __version__
from corom.errors import InputError
from corom.evaluation.evaluate import Report, Result
from corom.evaluation.pairs import PAIR_HEADS, PAIR_MEASURES, PairReport, PairResult
from corom.extras import need
from corom.files import atomic_write
from corom.readers.writing import table_cell, write_lines

_PLOTS = (".png", ".svg", ".pdf")
_IN_PERCENT = "In percent, with 95 % bootstrap intervals."
_AGAINST = " Against {against}, paired randomisation test: * p < 0.05, ** p < 0.01."


class Table(NamedTuple):
    """Figures to be read: a title, the heads of the columns, the rows."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def to_json(report: Report | PairReport) -> dict[str, Any]:
    """Return the report as JSON can hold it; measures are fractions of one."""
    if isinstance(report, PairReport):
        return {
            "corom": __version__,
            "dataset": {"name": report.dataset, "checksum": report.checksum},
            "results": [
                {
                    "split": each.split,
                    "model": each.model,
                    "metrics": dict(each.means),
                    "threshold": each.threshold._asdict(),
                    "pairs": each.pairs,
                    "settings": dict(each.settings),
                }
                for each in report.results
            ],
        }
    return {
        "corom": __version__,
        "dataset": {
            "name": report.dataset,
            "format": report.format,
            "checksum": report.checksum,
            "passages": report.passages,
        },
        "depth": report.depth,
        "against": report.against,
        "results": [_result_json(each) for each in report.results],
    }


def _result_json(result: Result) -> dict[str, Any]:
    evaluation = result.evaluation
    found: dict[str, Any] = {
        "split": result.split,
        "model": result.model,
        "metrics": {name: evaluation.means[name] for name in result.intervals},
        "intervals": {name: list(bounds) for name, bounds in result.intervals.items()},
        "recall": {str(k): value for k, value in result.recall.items()},
        "queries": evaluation.queries,
        "missing": evaluation.missing,
        "excluded": evaluation.excluded,
        "settings": dict(result.settings),
        "seconds": {name: round(value, 3) for name, value in result.seconds._asdict().items()},
    }
    if result.versus is not None:
        found["versus"] = {
            name: {
                "difference": test.difference,
                "interval": list(test.interval),
                "p_value": test.p_value,
            }
            for name, test in result.versus.items()
        }
    return found


def to_tables(report: Report | PairReport) -> list[Table]:
    """Return one table per split, the models below each other, figures in percent."""
    heads = PAIR_HEADS if isinstance(report, PairReport) else report.measures
    return [
        Table(
            f"{report.dataset} / {split}",
            ("model", *heads),
            tuple((each.model, *_cells(each)) for each in report.results if each.split == split),
        )
        for split in _splits(report)
    ]


def _splits(report: Report | PairReport) -> list[str]:
    return list(dict.fromkeys(each.split for each in report.results))


def _cells(result: Result | PairResult) -> Iterator[str]:
    if isinstance(result, Result):
        yield from (_cell(result, measure) for measure in result.intervals)
        return
    yield from (f"{100 * result.means[measure]:.2f}" for measure in PAIR_MEASURES)
    yield f"{result.threshold.score:.3f}"
    yield f"{100 * result.threshold.accuracy:.2f}"


def _cell(result: Result, measure: str) -> str:
    low, high = result.intervals[measure]
    mark = ""
    if result.versus is not None:
        p = result.versus[measure].p_value
        mark = "**" if p < 0.01 else "*" if p < 0.05 else ""
    return f"{100 * result.evaluation.means[measure]:.2f} [{100 * low:.1f}, {100 * high:.1f}]{mark}"


def to_markdown(report: Report | PairReport) -> str:
    """Return the tables of a report as Markdown."""
    lines = []
    for table in to_tables(report):
        head, *rows = (
            f"| {' | '.join(map(_escaped, row))} |" for row in (table.heads, *table.rows)
        )
        lines += [f"### {table.title}", "", head, f"|{' --- |' * len(table.heads)}", *rows, ""]
    return "\n".join([*lines, *_notes(report)]) + "\n"


def to_text(report: Report | PairReport) -> str:
    """Return the tables of a report for a screen, on which a Chinese character is two wide."""
    from rich.cells import cell_len

    lines = []
    for table in to_tables(report):
        rows = [table.heads, *table.rows]
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        lines.append(table.title)
        for row in rows:
            cells = (cell + " " * (w - cell_len(cell)) for cell, w in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        lines.append("")
    return "\n".join([*lines, *_notes(report)])


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_|<])", r"\\\1", text)


def _notes(report: Report | PairReport) -> list[str]:
    if isinstance(report, PairReport):
        return [
            "In percent. AUC: label 1 or more against 0. Threshold: the cosine that parts them "
            "best; right: the share of these pairs that it tells."
        ]
    note = _IN_PERCENT
    if any(each.versus for each in report.results):
        note += _AGAINST.format(against=report.against)
    counted = {
        each.split: f"{each.split}: {each.evaluation.queries} queries" for each in report.results
    }
    lacking = [
        f"{each.model} has no hits for {each.evaluation.missing} judged queries of {each.split}, "
        "which count 0."
        for each in report.results
        if each.evaluation.missing
    ]
    return [f"{report.passages:,} passages; {', '.join(counted.values())}.", *lacking, note]


def write_per_query(report: Report, path: Path) -> None:
    """Write every query's figures: split, model, query and its measures, under a head, as a .tsv.

    Measures are fractions of one, to the last bit; a query that a run misses has 0. Rows are in
    the order of the report, then of the queries. The name may end in .gz, .xz or .zst. Raises
    InputError for a name or an id that holds a tab or a line break.
    """
    write_lines(path, _per_query(report))


def _per_query(report: Report) -> Iterator[str]:
    yield "\t".join(("split", "model", "query", *report.measures))
    for result in report.results:
        names = table_cell(result.split), table_cell(result.model)
        for query, values in result.evaluation.per_query.items():
            figures = (repr(values[measure]) for measure in report.measures)
            yield "\t".join((*names, table_cell(query), *figures))


def require_plot(path: Path) -> None:
    """Raise unless `plot_recall` can write `path`: InputError, or MissingExtraError."""
    if path.suffix not in _PLOTS:
        raise InputError(f"{path} does not say what to draw; name it {', '.join(_PLOTS)}")
    need("matplotlib", extra="eval")


def plot_recall(report: Report, path: Path) -> None:
    """Draw recall against the number of hits, a panel per split, to a .png, .svg or .pdf file."""
    require_plot(path)
    from matplotlib.figure import Figure

    splits = _splits(report)
    figure = Figure(figsize=(1 + 4 * len(splits), 4), layout="constrained")
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for panel, split in zip(panels, splits, strict=True):
        for each in report.results:
            if each.split == split:
                panel.plot(*zip(*each.recall.items(), strict=True), marker=".", label=each.model)
        panel.set(xscale="log", title=split, xlabel="k", ylim=(0, 1))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("Recall@k")
    panels[-1].legend()
    with atomic_write(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=150)
