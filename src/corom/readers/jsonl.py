"""Passages and queries of jsonl files, and BEIR folders made of them.

A BEIR folder holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`; the
queries of all splits) and `qrels/SPLIT.tsv` (query-id, corpus-id, score under a header).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, eq=False)
class BeirDataset(Dataset):
    """A BEIR folder."""

    corpus: Path
    query_file: Path | None
    qrels_files: Mapping[str, Path]

    def passages(self) -> Iterator[Passage]:
        """Yield every passage in the order of the file."""
        return read_passages_jsonl(self.corpus, skips=self.skips)

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the queries that the split's qrels name, in the order of `queries.jsonl`."""
        judged = {qrel.query_id for qrel in self.qrels(split)}
        return (query for query in self._all_queries() if query.id in judged)

    def qrels(self, split: str) -> Iterator[Qrel]:
        """Yield the judgements of a split."""
        return read_qrels_beir(self.qrels_files[self._require_split(split)], skips=self.skips)

    def stray_queries(self) -> int:
        """How many queries no split's qrels name."""
        judged = {qrel.query_id for split in self.splits for qrel in self.qrels(split)}
        return sum(query.id not in judged for query in self._all_queries())

    def _all_queries(self) -> Iterator[Query]:
        if self.query_file is None:
            return iter(())
        return read_queries_jsonl(self.query_file, skips=self.skips)


def recognise_beir(folder: Folder, skips: SkipReport | None) -> Dataset | None:
    """Return the BEIR data set in `folder`, or None when it holds none."""
    corpus = folder.files.get("corpus.jsonl")
    if corpus is None:
        return None
    queries = folder.files.get("queries.jsonl")
    qrels = {
        name.removeprefix("qrels/").removesuffix(".tsv"): path
        for name, path in folder.files.items()
        if queries is not None and name.startswith("qrels/") and name.endswith(".tsv")
    }
    files = (corpus, *([] if queries is None else [queries]), *qrels.values())
    return BeirDataset(
        path=folder.path,
        format="beir",
        splits=tuple(qrels),
        files=files,
        unused=folder.unused(*files),
        skips=skips,
        corpus=corpus,
        query_file=queries,
        qrels_files=qrels,
    )
