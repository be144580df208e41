"""Training data as rows in memory, and a report of what could not be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corom.errors import InputError
from corom.readers import Pair, SkipReport, read_pairs
from corom.readers.lines import BadRecordError
from corom.training.examples import GradedRow, Row, text_key
from corom.training.inputs import Record, groups_of_folder, records_of_file
from corom.training.settings import DataSettings, RowSettings
from corom.training.sources import plain_source, row_weights

_WHOLE = 2**32
_JOINED = "rows whose negatives joined an earlier row's"


@dataclass
class Rows:
    """Rows to train on, the texts random negatives are drawn from, and what was left out."""

    rows: list[Row] = field(default_factory=list)
    pool: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skips: SkipReport = field(default_factory=SkipReport)
    answers: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Key of a query -> all that answers it, where several rows ask it: most are asked once."""

    def answers_to(self, row: Row) -> tuple[str, ...]:
        """Return every passage that any row knows to answer the row's query."""
        return self.answers.get(text_key(row.query), row.positives)

    def report(self) -> dict[str, Any]:
        """Return what there is and what was left out: counts and places, no text of the data."""
        return {**self.counts, "left out": self.skips.counts, "first left out": self.skips.first}


def read_rows(data: RowSettings) -> Rows:
    """Return the rows of files and dataset folders.

    Random negatives are drawn from the corpora of dataset folders, or where there is none from
    `data.pool`'s share of the rows' passages.

    A record that cannot be used raises FormatError with its line, or is left out and counted. A row
    that repeats an earlier one (query and positives) only brings it more negatives: triples have
    one a line. One that brings nothing, and a negative that any row knows to answer its query, are
    always dropped and counted.
    """
    found = Rows()
    rows = _joined(_each_row(data, found), found.counts)
    if not rows:
        raise InputError(f"no row to train on in {', '.join(data.train)}; {found.skips.describe()}")
    found.answers = answers_of(rows)
    found.rows = [
        _without(found.answers_to(row), row, found.counts) if row.negatives else row for row in rows
    ]
    found.counts["rows"] = len(found.rows)
    found.counts["rows without negatives"] = sum(not row.negatives for row in found.rows)
    if not found.pool:
        found.pool = _pool(found.rows, data.pool)
    found.counts["passages to draw from"] = len(found.pool)
    if data.fill == "random" and not found.pool:
        raise InputError("data.pool leaves no passage to draw random negatives from")
    return found


def _each_row(data: RowSettings, found: Rows) -> Iterator[Row]:
    """Yield a row for each record; `found` gets the passages and counts of dataset folders."""
    skips = found.skips if data.bad_rows == "skip" else None
    records: Iterable[Record]
    for path in map(Path, data.train):
        if path.is_dir():
            lost = found.counts
            passages, records = groups_of_folder(path, split=data.split, skips=skips, lost=lost)
            found.pool.extend(one.content for one in passages.values())
        else:
            records = records_of_file(path, skips=skips)
        for record in records:
            yield row_of(record, source=plain_source(path.name))


def row_of(record: Record, *, source: str) -> Row:
    """Return a group or a pair as a row."""
    if isinstance(record, Pair):
        negatives = tuple(dict.fromkeys(record.negatives))
        return Row(record.query, (record.positive,), negatives, record.source or source)
    return Row(
        record.query,
        tuple(dict.fromkeys(one.content for one in record.positives)),
        tuple(dict.fromkeys(one.content for one in record.negatives)),
        source,
    )


def _joined(rows: Iterable[Row], counts: Counter[str]) -> list[Row]:
    """Return the rows, those of one query and the same positives as one."""
    found: list[Row] = []
    places: dict[int, int] = {}
    more: dict[int, dict[str, None]] = {}
    for row in rows:
        place = places.setdefault(hash(row[:2]), len(found))
        if place == len(found):
            found.append(row)
            continue
        known = more.setdefault(place, dict.fromkeys(found[place].negatives))
        adds = not known.keys() >= set(row.negatives)
        counts[_JOINED if adds else "repeated rows, dropped"] += 1
        known |= dict.fromkeys(row.negatives)
    for place, negatives in more.items():
        found[place] = found[place]._replace(negatives=tuple(negatives))
    return found


def answers_of(rows: Sequence[Row]) -> dict[int, tuple[str, ...]]:
    """Return what answers each query that several rows ask: pairs have an answer in each."""
    first: dict[int, Row] = {}
    found: dict[int, dict[str, None]] = {}
    for row in rows:
        key = text_key(row.query)
        if (earlier := first.setdefault(key, row)) is not row:
            known = found.setdefault(key, dict.fromkeys(earlier.positives))
            known |= dict.fromkeys(row.positives)
    return {key: tuple(texts) for key, texts in found.items()}


def _without(answers: Sequence[str], row: Row, counts: Counter[str]) -> Row:
    known = {text.strip() for text in answers}
    kept = tuple(text for text in row.negatives if text.strip() not in known)
    if dropped := len(row.negatives) - len(kept):
        counts["negatives that were positives, dropped"] += dropped
        row = row._replace(negatives=kept)
    return row


def _pool(rows: Sequence[Row], shares: Mapping[str, float]) -> list[str]:
    """Return the rows' passages, of each source its share: the same texts in every run."""
    texts: dict[str, float] = {}
    known = row_weights([row.source for row in rows], shares).tolist()
    for row, share in zip(rows, known, strict=True):
        for text in (*row.positives, *row.negatives):
            texts.setdefault(text, share)
    return [text for text, share in texts.items() if in_pool(text, share)]


def in_pool(text: str, share: float) -> bool:
    """Whether a text is in the `share` of its source that negatives come from, in every run."""
    return share >= 1 or text_key(text) % _WHOLE < share * _WHOLE


def read_graded(data: DataSettings) -> tuple[list[GradedRow], SkipReport]:
    """Return the labelled pairs of files; a pair without a label cannot be used."""
    report, rows = SkipReport(), []
    skips = report if data.bad_rows == "skip" else None
    for path in map(Path, data.graded):
        for pair in read_pairs(path, skips=skips, require=_has_label):
            source = pair.source or plain_source(path.name)
            label = float(pair.label)  # type: ignore[arg-type] # _has_label
            rows.append(GradedRow(pair.query, pair.positive, label, source))
    return rows, report


def _has_label(pair: Pair) -> None:
    if pair.label is None:
        raise BadRecordError("no label", "has no label")
