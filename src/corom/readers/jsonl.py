"""Passages and queries of jsonl files, and BEIR folders made of them.

A BEIR folder holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`; the
queries of all splits) and `qrels/SPLIT.tsv` (query-id, corpus-id, score under a header).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

from corom.errors import FormatError
from corom.readers.dataset import Dataset, Folder
from corom.readers.fields import (
    JsonObject,
    id_field,
    json_object,
    kept_fields,
    optional_text,
    require_grade,
    require_id,
    split_columns,
    text_field,
)
from corom.readers.layout import FIXED, PASSAGE, QUERY, Layout
from corom.readers.lines import SkipReport, read_records
from corom.records import Passage, Qrel, Query

_HEADER = "query-id\tcorpus-id\tscore"


def read_passages_jsonl(
    path: Path | str, *, layout: Layout = FIXED, skips: SkipReport | None = None
) -> Iterator[Passage]:
    """Yield the passages of a jsonl file: `id` (or `_id`, `docid`), `text`, `title` if any.

    A passage may have an empty text when it has a title. FormatError at the end if no record has a
    field that is to be kept.
    """
    unseen = set(layout.keep)

    def parse(line: str) -> Passage:
        record = json_object(line)
        passage = passage_of_record(layout.of_record(record), keep=layout.keep)
        unseen.difference_update(record)
        return passage

    encoding = layout.encoding
    yield from read_records([path], parse, key=attrgetter("id"), skips=skips, encoding=encoding)
    if unseen:
        raise FormatError(f"no record has a field {min(unseen)!r}; check --keep", path=Path(path))


def passage_of_record(record: JsonObject, *, keep: Sequence[str] = ()) -> Passage:
    """Return the passage that a JSON object or a row of a table describes, with these fields."""
    title = optional_text(record, "title")
    text = optional_text(record, "text") if title.strip() else text_field(record, "text")
    id_ = id_field(record, *PASSAGE["id"])
    return Passage(id_, text, title, kept_fields(record, keep))


def read_queries_jsonl(
    path: Path | str, *, layout: Layout = FIXED, skips: SkipReport | None = None
) -> Iterator[Query]:
    """Yield the queries of a jsonl file: `id` (or `_id`, `query_id`), `text` (or `query`)."""

    def parse(line: str) -> Query:
        return query_of_record(layout.of_record(json_object(line)))

    encoding = layout.encoding
    return read_records([path], parse, key=attrgetter("id"), skips=skips, encoding=encoding)


def query_of_record(record: JsonObject) -> Query:
    """Return the query that a JSON object or a row of a table describes."""
    text = text_field(record, *QUERY["text"])
    return Query(id_field(record, *QUERY["id"]), text)


def read_qrels_beir(path: Path | str, *, skips: SkipReport | None = None) -> Iterator[Qrel]:
    """Yield the judgements of a BEIR file; its header may be missing."""
    return read_records([path], _qrel, key=attrgetter("query_id", "passage_id"), skips=skips)


def _qrel(line: str) -> Qrel | None:
    if line.strip() == _HEADER:
        return None
    query, passage, grade = split_columns(line, "query-id", "corpus-id", "score")
    return Qrel(
        require_id(query, name="query-id"),
        require_id(passage, name="corpus-id"),
        require_grade(grade),
    )


def recognise_beir(folder: Folder) -> Dataset | None:
    """Return the BEIR data set in `folder`, or None when it holds none."""
    corpus = folder.files.get("corpus.jsonl")
    if corpus is None:
        return None
    queries = folder.files.get("queries.jsonl")
    qrels = {} if queries is None else folder.named("qrels/", ".tsv")
    return Dataset(
        folder=folder,
        format="beir",
        files=(corpus, *([] if queries is None else [queries]), *qrels.values()),
        read_passages=partial(read_passages_jsonl, corpus),
        read_all_queries=None if queries is None else partial(read_queries_jsonl, queries),
        read_qrels={split: partial(read_qrels_beir, path) for split, path in qrels.items()},
    )
