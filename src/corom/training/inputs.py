"""The records that training data is made of: from files and dataset folders, and into files.

| what | recognised by | records |
|---|---|---|
| groups (Tevatron, DuReader) | `"positive_passages"` in the first whole record | groups |
| pairs | any other .jsonl | pairs |
| dataset folder (Multi-CPR, BEIR, …) | being a folder | a group per query with a relevant passage |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

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
from corom.readers.compression import plain_name
from corom.readers.fields import json_object
from corom.readers.lines import BadRecordError, decoded, numbered_lines
from corom.records import Passage
from corom.training.run_settings import ReadSettings
from corom.training.sources import plain_source

Record: TypeAlias = Group | Pair

_NO_QUERY = "judgements of queries that are not there"
_NO_PASSAGE = "judgements of passages that are not there"


def records_of(
    path: Path, settings: ReadSettings, *, skips: SkipReport, lost: Counter[str] | None = None
) -> Iterable[Record]:
    """Return the records of a .jsonl file, or the groups of a dataset folder.

    `skips` counts bad rows, where they are left out; `lost` is as in `groups_of_folder`.
    """
    kept = skips if settings.bad_rows == "skip" else None
    if path.is_dir():
        return groups_of_folder(path, split=settings.split, skips=kept, lost=lost)[1]
    return records_of_file(path, skips=kept)


def records_of_file(path: Path, *, skips: SkipReport | None) -> Iterator[Record]:
    """Yield the groups or pairs of a .jsonl file; a pair labelled as no match is no such record."""
    if holds_groups(path):
        yield from read_groups(path, skips=skips)
    else:
        yield from read_pairs(path, skips=skips, require=_is_match)


def _is_match(pair: Pair) -> None:
    if pair.label is not None and pair.label <= 0:
        raise BadRecordError("label 0", "is labelled as no match; skip bad rows, or leave it out")


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


def groups_of_folder(
    path: Path, *, split: str, skips: SkipReport | None, lost: Counter[str] | None = None
) -> tuple[dict[str, Passage], Iterator[Group]]:
    """Return the corpus of a dataset folder by id, and its queries as groups.

    A query without a relevant passage in the corpus raises FormatError, or is counted in `skips`;
    judgements of queries and passages that are not there are left out, and counted in `lost`.
    """
    dataset = open_dataset(path, skips=skips)
    passages = {passage.id: passage for passage in dataset.passages()}
    relevant: dict[str, list[str]] = defaultdict(list)
    judged: dict[str, list[str]] = defaultdict(list)
    queries = list(dataset.queries(split))
    ids, lost = {query.id for query in queries}, Counter[str]() if lost is None else lost
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
                continue
            message = f"query {query.id} has no relevant passage in the corpus"
            error = FormatError(f"{message}; mend it, or skip bad rows", path=path)
            if skips is None:
                raise error
            skips.add(error, reason="no relevant passage")

    return passages, groups()


def output_names(data: Sequence[str]) -> dict[str, Path]:
    """Return the name of the .jsonl file that each input becomes; two of one name are refused."""
    names: dict[str, Path] = {}
    for path in map(Path, data):
        stem = plain_source(path.name)
        if f"{stem}.jsonl" in names:
            raise InputError(f"two inputs are called {stem}; rename one")
        names[f"{stem}.jsonl"] = path
    return names


def write_records(target: Path, records: Iterable[Record], *, like: Path) -> None:
    """Write records in the form of the input `like`: pairs for a file of pairs, else groups."""
    write: Any = write_groups if like.is_dir() or holds_groups(like) else write_pairs
    write(target, records)
