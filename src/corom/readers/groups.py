"""Training groups in the form of Tevatron and DuReader-retrieval: a query and its passages.

One jsonl line: `{"query_id", "query", "positive_passages": [{"docid", "title"?, "text"}],
"negative_passages": [...]}`. DuReader has no titles; negatives may be missing. A folder of such
files is a data set too: its corpus are the passages of all groups, and the negatives are judged 0.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

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


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupsDataset(Dataset):
    """A folder of group files; each file is a split."""

    group_files: Mapping[str, Path]

    def passages(self) -> Iterator[Passage]:
        """Yield every passage of every group once; one id with two texts raises FormatError."""
        seen: dict[str, int] = {}
        for split in self.splits:
            for group in self._groups(split):
                for passage in (*group.positives, *group.negatives):
                    if passage.id not in seen:
                        seen[passage.id] = hash(passage)
                        yield passage
                    elif seen[passage.id] != hash(passage):
                        raise FormatError(
                            f"docid {passage.id!r} stands for two different passages",
                            path=self.group_files[split],
                        )

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the queries of a split; a query of several groups comes once.

        Raises FormatError for an id that stands for two queries.
        """
        seen: dict[str, int] = {}
        for group in self._groups(split):
            if group.query_id not in seen:
                seen[group.query_id] = hash(group.query)
                yield Query(group.query_id, group.query)
            elif seen[group.query_id] != hash(group.query):
                raise FormatError(
                    f"query_id {group.query_id!r} stands for two different queries",
                    path=self.group_files[split],
                )

    def qrels(self, split: str) -> Iterator[Qrel]:
        """Yield grade 1 for positives and 0 for negatives.

        A passage that is listed several times for a query comes once: as a positive if it is one.
        """
        counts = Counter(group.query_id for group in self._groups(split))
        joined: dict[str, dict[str, int]] = {}
        for group in self._groups(split):
            if counts[group.query_id] == 1:
                yield from _qrels(group.query_id, _grades(group))
                continue
            grades = joined.setdefault(group.query_id, {})
            for id_, grade in _grades(group).items():
                grades[id_] = max(grade, grades.get(id_, 0))
        for query_id, grades in joined.items():
            yield from _qrels(query_id, grades)

    def _groups(self, split: str) -> Iterator[Group]:
        return read_groups(self.group_files[self._require_split(split)], skips=self.skips)


def _grades(group: Group) -> dict[str, int]:
    """Return the grade of each passage of a group."""
    positives = {passage.id: 1 for passage in group.positives}
    return positives | {p.id: 0 for p in group.negatives if p.id not in positives}


def _qrels(query_id: str, grades: Mapping[str, int]) -> Iterator[Qrel]:
    return (Qrel(query_id, id_, grade) for id_, grade in grades.items())


def recognise_groups(folder: Folder, skips: SkipReport | None) -> Dataset | None:
    """Return the data set of group files in `folder`, or None when it holds none."""
    files = {
        name.removesuffix(".jsonl"): path
        for name, path in folder.files.items()
        if name.endswith(".jsonl") and "/" not in name and _holds_groups(path)
    }
    if not files:
        return None
    return GroupsDataset(
        path=folder.path,
        format="groups",
        splits=tuple(files),
        files=tuple(files.values()),
        unused=folder.unused(*files.values()),
        skips=skips,
        group_files=files,
    )


def _holds_groups(path: Path) -> bool:
    first = next(islice(numbered_lines(path), 1), None)
    return first is not None and b'"positive_passages"' in first[2]
