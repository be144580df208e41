"""Data set and retrievers in, figures out: every query's ranking, measured and compared."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from corom.checks import require_whole
from corom.errors import InputError
from corom.evaluation.kept import Describing
from corom.evaluation.measure import PassageIndex, measure
from corom.metrics import DEFAULT_MEASURES, Evaluation, evaluate_run
from corom.readers import Dataset
from corom.records import Passage, Query
from corom.runs import require_word
from corom.significance import Interval, PairedTest, bootstrap_interval, paired_test

DEPTH = 1000
CURVE = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
"""The numbers of hits at which recall is drawn."""


class Retriever(Protocol):
    """Something to evaluate: `settings` say what, beyond its name, decides its figures."""

    name: str
    settings: Describing

    def index(self, passages: Iterable[Passage]) -> PassageIndex:
        """Return the index of the passages, every one of which is read."""


class Seconds(NamedTuple):
    """How long it took."""

    indexing: float
    """for all splits together; with kept vectors hardly any time"""
    searching: float
    """encoding of the queries included"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of one model on one split; `versus` compares with the report's `against`."""

    split: str
    model: str
    settings: Describing
    evaluation: Evaluation
    intervals: Mapping[str, Interval]
    recall: Mapping[int, float]
    seconds: Seconds
    versus: Mapping[str, PairedTest] | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures on a data set; `results` are in the order of the splits, then of the models."""

    dataset: str
    format: str
    checksum: str
    passages: int
    depth: int
    measures: tuple[str, ...]
    against: str
    results: tuple[Result, ...]


def evaluate(
    dataset: Dataset,
    retrievers: Sequence[Retriever],
    *,
    splits: Sequence[str],
    measures: Sequence[str] = DEFAULT_MEASURES,
    depth: int = DEPTH,
    against: str | None = None,
    runs: Path | None = None,
) -> Report:
    """Return what each retriever scores on each split, over its first `depth` hits per query.

    Every figure comes with its 95 % bootstrap interval and, but for the model `against` (default:
    the first), a paired test against that one. With `runs`, each ranking is written there as a
    TREC file `SPLIT.MODEL.run`. Raises InputError for names that are unknown or come twice and
    for a measure that looks deeper than `depth`; what readers and models raise.
    """
    names = [retriever.name for retriever in retrievers]
    check_names(names, splits)
    base = names[0] if against is None else against
    if base not in names:
        raise InputError(f"cannot compare with {base!r}; models are {', '.join(names)}")
    require_measurable(dataset, splits=splits, measures=measures, depth=depth)
    files = {} if runs is None else _run_files(runs, dataset, splits=splits, names=names)
    found: dict[tuple[str, str], Result] = {}
    passages = 0
    for retriever in retrievers:
        started = time.perf_counter()
        index = retriever.index(dataset.passages())
        indexing, passages = time.perf_counter() - started, len(index)
        for split in splits:
            found[split, retriever.name] = _result(
                dataset,
                retriever,
                split=split,
                index=index,
                indexing=indexing,
                measures=measures,
                depth=depth,
                file=files.get((split, retriever.name)),
            )
    return Report(
        dataset=dataset.name,
        format=dataset.format,
        checksum=dataset.checksum(),
        passages=passages,
        depth=depth,
        measures=tuple(measures),
        against=base,
        results=tuple(
            _compared(found[split, name], found[split, base]) for split in splits for name in names
        ),
    )


def _result(
    dataset: Dataset,
    retriever: Retriever,
    *,
    split: str,
    index: PassageIndex,
    indexing: float,
    measures: Sequence[str],
    depth: int,
    file: Path | None,
) -> Result:
    curve = {k: f"Recall@{k}" for k in CURVE if k <= depth}
    evaluation, searching = measure(
        index,
        dataset.queries(split),
        qrels=dataset.qrels(split),
        measures=list(dict.fromkeys([*measures, *curve.values()])),
        depth=depth,
        file=file,
        tag=_word(retriever.name),
    )
    return Result(
        split=split,
        model=retriever.name,
        settings=retriever.settings,
        evaluation=evaluation,
        intervals={name: bootstrap_interval(evaluation.values(name)) for name in measures},
        recall={k: evaluation.means[name] for k, name in curve.items()},
        seconds=Seconds(indexing, searching),
    )


def _compared(result: Result, base: Result) -> Result:
    if result.model == base.model:
        return result
    tests = {
        name: paired_test(result.evaluation.values(name), base.evaluation.values(name))
        for name in result.intervals
    }
    return replace(result, versus=tests)


def check_names(names: Sequence[str], splits: Sequence[str]) -> None:
    """Raise InputError unless there are models and splits, each named once."""
    for what, given in (("model", names), ("split", splits)):
        if not given:
            raise InputError(f"no {what} was named; name at least one")
        if len(set(given)) < len(given):
            raise InputError(f"a {what} occurs twice in {', '.join(given)}; name each once")


def require_measurable(
    dataset: Dataset, *, splits: Sequence[str], measures: Sequence[str], depth: int
) -> None:
    """Raise InputError for what cannot be measured, before models are loaded or hours encoded."""
    require_whole("depth", depth)
    for measure_ in measures:
        cutoff = measure_.partition("@")[2]
        if cutoff.isdecimal() and int(cutoff) > depth:
            raise InputError(f"{measure_} looks deeper than the {depth} hits; raise the depth")
    for split in splits:
        evaluate_run({}, dataset.qrels(split), measures=measures)


def run_name(split: str, model: str) -> str:
    """Return what the run file of a model on a split is called."""
    return f"{_word(split)}.{_word(model)}.run"


def _run_files(
    folder: Path, dataset: Dataset, *, splits: Sequence[str], names: Sequence[str]
) -> dict[tuple[str, str], Path]:
    """Return a file for each split and model; InputError, before hours pass, for what none holds.

    That is two models under one name, and an id with white space.
    """
    files = {
        (split, name): Path(folder) / run_name(split, name) for split in splits for name in names
    }
    if len(set(files.values())) < len(files):
        raise InputError(f"the names {', '.join(names)} would share a run file; rename a model")
    texts: Iterable[Passage | Query] = chain(dataset.passages(), *map(dataset.queries, splits))
    for text in texts:
        require_word(text.id)
    return files


def _word(name: str) -> str:
    return re.sub(r"[^\w.@-]+", "-", name).strip("-.") or "model"
