"""Training groups in the form of Tevatron and DuReader-retrieval: a query and its passages.

One jsonl line: `{"query_id", "query", "positive_passages": [{"docid", "title"?, "text"}],
"negative_passages": [...]}`. DuReader has no titles; negatives may be missing. A folder of such
files is a data set too: its corpus are the passages of all groups, and the negatives are judged 0.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from corom.errors import FormatError
from corom.readers.dataset import Dataset, Folder
from corom.readers.fields import (
    JsonObject,
    id_field,
    json_object,
    list_field,
    optional_text,
    text_field,
)
from corom.readers.lines import BadRecordError, SkipReport, numbered_lines, read_records
from corom.readers.writing import write_lines
from corom.records import Passage, Qrel, Query

Record = TypeVar("Record", Passage, Query)


class Group(NamedTuple):
    """A query with the passages that answer it and passages that do not."""

    query_id: str
    query: str
    positives: tuple[Passage, ...]
    negatives: tuple[Passage, ...] = ()


def read_groups(path: Path | str, *, skips: SkipReport | None = None) -> Iterator[Group]:
    """Yield the groups of a jsonl file; a query id may occur in several groups."""
    return read_records([path], _parse, skips=skips)


def write_groups(path: Path | str, groups: Iterable[Group]) -> None:
    """Write groups so that `read_groups` returns them; a title is written when there is one."""
    write_lines(path, (json.dumps(_record(group), ensure_ascii=False) for group in groups))


def _parse(line: str) -> Group:
    record = json_object(line)
    positives = _passages(record, "positive_passages")
    if not positives:
        raise BadRecordError("missing field", "has no positive passage")
    return Group(
        id_field(record, "query_id"),
        text_field(record, "query"),
        positives,
        _passages(record, "negative_passages"),
    )


def _passages(record: JsonObject, name: str) -> tuple[Passage, ...]:
    return tuple(_passage(entry, name) for entry in list_field(record, name))


def _passage(entry: Any, name: str) -> Passage:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(entry, dict):
        raise BadRecordError("bad field", f"has a {name!r} entry that is not an object")
    return Passage(
        id_field(entry, "docid"), text_field(entry, "text"), optional_text(entry, "title")
    )


def _record(group: Group) -> JsonObject:
    return {
        "query_id": group.query_id,
        "query": group.query,
        "positive_passages": [_entry(passage) for passage in group.positives],
        "negative_passages": [_entry(passage) for passage in group.negatives],
    }


def _entry(passage: Passage) -> JsonObject:
    title = {"title": passage.title} if passage.title else {}
    return {"docid": passage.id, **title, "text": passage.text}


def recognise_groups(folder: Folder) -> Dataset | None:
    """Return the data set of group files in `folder`, each a split; None when it holds none."""
    found = folder.named("", ".jsonl")
    files = {split: path for split, path in found.items() if _holds_groups(path)}
    if not files:
        return None
    return Dataset(
        folder=folder,
        format="groups",
        files=tuple(files.values()),
        read_passages=partial(_read_passages, *files.values()),
        read_queries={split: partial(_read_queries, path) for split, path in files.items()},
        read_qrels={split: partial(_read_qrels, path) for split, path in files.items()},
    )


def _holds_groups(path: Path) -> bool:
    first = next(islice(numbered_lines(path), 1), None)
    return first is not None and b'"positive_passages"' in first[2]


def _read_passages(*paths: Path, skips: SkipReport | None) -> Iterator[Passage]:
    """Yield every passage of every group once."""
    found = (
        (path, passage)
        for path in paths
        for group in read_groups(path, skips=skips)
        for passage in (*group.positives, *group.negatives)
    )
    return _each_once(found, "docid {!r} stands for two different passages")


def _read_queries(path: Path, *, skips: SkipReport | None) -> Iterator[Query]:
    """Yield the queries of a split; a query of several groups comes once."""
    groups = read_groups(path, skips=skips)
    found = ((path, Query(group.query_id, group.query)) for group in groups)
    return _each_once(found, "query_id {!r} stands for two different queries")


def _each_once(found: Iterable[tuple[Path, Record]], conflict: str) -> Iterator[Record]:
    """Yield each record once; FormatError for an id that two different ones have."""
    seen: dict[str, int] = {}
    for path, record in found:
        if record.id not in seen:
            seen[record.id] = hash(record)
            yield record
        elif seen[record.id] != hash(record):
            raise FormatError(conflict.format(record.id), path=path)


def _read_qrels(path: Path, *, skips: SkipReport | None) -> Iterator[Qrel]:
    """Yield grade 1 for positives and 0 for negatives.

    A passage that is listed several times for a query comes once: as a positive if it is one.
    """
    counts = Counter(group.query_id for group in read_groups(path, skips=skips))
    joined: dict[str, dict[str, int]] = {}
    for group in read_groups(path, skips=skips):
        if counts[group.query_id] == 1:
            yield from _qrels(group.query_id, _grades(group))
            continue
        grades = joined.setdefault(group.query_id, {})
        for id_, grade in _grades(group).items():
            grades[id_] = max(grade, grades.get(id_, 0))
    for query_id, grades in joined.items():
        yield from _qrels(query_id, grades)


def _grades(group: Group) -> dict[str, int]:
    """Return the grade of each passage of a group."""
    positives = {passage.id: 1 for passage in group.positives}
    return positives | {p.id: 0 for p in group.negatives if p.id not in positives}


def _qrels(query_id: str, grades: Mapping[str, int]) -> Iterator[Qrel]:
    return (Qrel(query_id, id_, grade) for id_, grade in grades.items())
