"""Training data from files to rows in memory, and a report of what could not be used.

| what | recognised by | rows |
|---|---|---|
| groups (Tevatron, DuReader) | `"positive_passages"` in the first whole record | one per group |
| pairs | any other .jsonl | one per pair |
| dataset folder (Multi-CPR, BEIR, …) | being a folder | one per query with a relevant passage |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corom.errors import FormatError, InputError
from corom.readers import (
    Group,
    Pair,
    SkipReport,
    open_dataset,
    read_groups,
    read_pairs,
    write_groups,
    write_pairs,
)
from corom.readers.fields import json_object
from corom.readers.lines import BadRecordError, decoded, numbered_lines, plain_name
from corom.records import Passage
from corom.training.examples import GradedRow, Row, text_key
from corom.training.plan import plain_source, row_weights

_WHOLE = 2**32
_JOINED = "rows whose negatives joined an earlier row's"
_NO_QUERY = "judgements of queries that are not there"
_NO_PASSAGE = "judgements of passages that are not there"


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

    def describe(self) -> str:
        """Return one line of what there is and what is not; no text of the data."""
        said = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return f"{said or 'no rows'}; {self.skips.describe()}"


def read_rows(
    paths: Sequence[str], *, split: str, skip_bad: bool, pool: Mapping[str, float] | None = None
) -> Rows:
    """Return the rows of files and dataset folders.

    `pool` says which share of the passages of each source (the first matching pattern's; else all)
    random negatives are drawn from, where no dataset folder brings a corpus.

    A record that cannot be used raises FormatError with its line, or with `skip_bad` is left out
    and counted. A row that repeats an earlier one (query and positives) only brings it more
    negatives: triples have one a line. One that brings nothing, and a negative that any row knows
    to answer its query, are always dropped and counted.
    """
    found = Rows()
    read = _each_row(paths, split=split, skips=found.skips if skip_bad else None, found=found)
    rows = _joined(read, found.counts)
    if not rows:
        raise InputError(f"no row to train on in {', '.join(paths)}; {found.skips.describe()}")
    found.answers = answers_of(rows)
    found.rows = [
        _without(found.answers_to(row), row, found.counts) if row.negatives else row for row in rows
    ]
    found.counts["rows"] = len(found.rows)
    found.counts["rows without negatives"] = sum(not row.negatives for row in found.rows)
    if not found.pool:
        found.pool = _pool(found.rows, pool or {})
    found.counts["passages to draw from"] = len(found.pool)
    return found


def _each_row(
    paths: Sequence[str], *, split: str, skips: SkipReport | None, found: Rows
) -> Iterator[Row]:
    """Yield a row for each record; `found` gets the passages and counts of dataset folders."""
    records: Iterable[Group | Pair]
    for path in map(Path, paths):
        if path.is_dir():
            counts = found.counts
            passages, records = groups_of_folder(path, split=split, skips=skips, counts=counts)
            found.pool.extend(one.content for one in passages.values())
        else:
            records = records_of_file(path, skips=skips)
        for record in records:
            yield row_of(record, source=plain_source(path.name))


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


def read_graded(paths: Sequence[str], *, skip_bad: bool) -> tuple[list[GradedRow], SkipReport]:
    """Return the labelled pairs of files; a pair without a label cannot be used."""
    report, rows = SkipReport(), []
    for path in map(Path, paths):
        skips = report if skip_bad else None
        for pair in read_pairs(path, skips=skips, require=_has_label):
            source = pair.source or plain_source(path.name)
            label = float(pair.label)  # type: ignore[arg-type] # _has_label
            rows.append(GradedRow(pair.query, pair.positive, label, source))
    return rows, report


def _has_label(pair: Pair) -> None:
    if pair.label is None:
        raise BadRecordError("no label", "has no label")


def _is_match(pair: Pair) -> None:
    if pair.label is not None and pair.label <= 0:
        raise BadRecordError("label 0", "is labelled as no match; skip bad rows, or leave it out")


def records_of(
    path: Path, *, split: str, skips: SkipReport | None, counts: Counter[str] | None = None
) -> Iterable[Group | Pair]:
    """Return the records of a .jsonl file, or the groups of a dataset folder."""
    if path.is_dir():
        return groups_of_folder(path, split=split, skips=skips, counts=counts)[1]
    return records_of_file(path, skips=skips)


def output_names(data: Sequence[str]) -> dict[str, Path]:
    """Return the name of the .jsonl file that each input becomes; two of one name are refused."""
    names: dict[str, Path] = {}
    for path in map(Path, data):
        stem = plain_source(path.name)
        if f"{stem}.jsonl" in names:
            raise InputError(f"two inputs are called {stem}; rename one")
        names[f"{stem}.jsonl"] = path
    return names


def write_records(target: Path, records: Iterable[Group | Pair], *, like: Path) -> None:
    """Write records in the form of the input `like`: pairs for a file of pairs, else groups."""
    write: Any = write_groups if like.is_dir() or holds_groups(like) else write_pairs
    write(target, records)


def holds_groups(path: Path) -> bool:
    """Whether a .jsonl file holds groups rather than pairs, by the first record of either form.

    A broken line before it is its readers' to name, and does not make pairs of all the others.
    """
    if plain_name(path.name).endswith(".tsv"):
        return False
    for _, _, line in numbered_lines(path):
        try:
            record = json_object(decoded(line))
        except BadRecordError:
            continue
        if "positive_passages" in record or "positive" in record:
            return "positive_passages" in record
    return False


def row_of(record: Group | Pair, *, source: str) -> Row:
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


def records_of_file(path: Path, *, skips: SkipReport | None) -> Iterator[Group | Pair]:
    """Yield the groups or pairs of a .jsonl file; a pair labelled as no match is no such record."""
    if holds_groups(path):
        yield from read_groups(path, skips=skips)
    else:
        yield from read_pairs(path, skips=skips, require=_is_match)


def groups_of_folder(
    path: Path, *, split: str, skips: SkipReport | None, counts: Counter[str] | None = None
) -> tuple[dict[str, Passage], Iterator[Group]]:
    """Return the corpus of a dataset folder by id, and its queries as groups.

    A query without a relevant passage in the corpus raises FormatError, or is counted in `skips`;
    judgements of queries and passages that are not there are left out, and counted in `counts`.
    """
    dataset = open_dataset(path, skips=skips)
    passages = {passage.id: passage for passage in dataset.passages()}
    relevant: dict[str, list[str]] = defaultdict(list)
    judged: dict[str, list[str]] = defaultdict(list)
    queries = list(dataset.queries(split))
    ids, lost = {query.id for query in queries}, Counter[str]() if counts is None else counts
    for qrel in dataset.qrels(split):
        (relevant if qrel.grade > 0 else judged)[qrel.query_id].append(qrel.passage_id)
        if qrel.query_id not in ids:
            lost[_NO_QUERY] += 1
        if qrel.passage_id not in passages:
            lost[_NO_PASSAGE] += 1

    def known(ids: list[str]) -> tuple[Passage, ...]:
        return tuple(passages[id_] for id_ in ids if id_ in passages)

    def groups() -> Iterator[Group]:
        for query in queries:
            if positives := known(relevant[query.id]):
                yield Group(query.id, query.text, positives, known(judged[query.id]))
            else:
                message = f"query {query.id} has no relevant passage in the corpus"
                leave_out("no relevant passage", message, path, skips)

    return passages, groups()


def _without(answers: Sequence[str], row: Row, counts: Counter[str]) -> Row:
    known = {text.strip() for text in answers}
    kept = tuple(text for text in row.negatives if text.strip() not in known)
    if dropped := len(row.negatives) - len(kept):
        counts["negatives that were positives, dropped"] += dropped
        row = row._replace(negatives=kept)
    return row


def leave_out(reason: str, message: str, path: Path, skips: SkipReport | None) -> None:
    """Count a record that cannot be trained on in `skips`, or raise FormatError without one."""
    error = FormatError(f"{message}; mend it, or skip bad rows", path=path)
    if skips is None:
        raise error
    skips.add(error, reason=reason)
