"""Tab-separated data sets: Multi-CPR and MS MARCO, and TREC qrels.

| | Multi-CPR | MS MARCO |
|---|---|---|
| passages: pid, text | `corpus.tsv`, or `corpus_split_1.tsv` to `_4` | `collection.tsv` |
| queries: qid, text | `NAME.query.txt` | `queries.NAME.tsv` |
| qrels: qid, 0, pid, grade | `qrels.NAME.tsv` | `qrels.NAME.tsv` |

The four parts of Multi-CPR's medical corpus are one file cut by bytes, inside characters even;
read on their own they are broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

from corom.errors import FormatError
from corom.readers.dataset import Dataset, Folder
from corom.readers.fields import require_grade, require_id, require_text, split_columns
from corom.readers.lines import Encoding, SkipReport, read_records
from corom.records import Passage, Qrel, Query

_PARTS = tuple(f"corpus_split_{number}.tsv" for number in range(1, 5))


def read_passages_tsv(
    *paths: Path | str, encoding: Encoding | None = None, skips: SkipReport | None = None
) -> Iterator[Passage]:
    """Yield the passages of files of id, tab, text that are read as one stream of bytes."""
    return read_records(
        paths, passage_of_columns, key=attrgetter("id"), skips=skips, encoding=encoding
    )


def passage_of_columns(line: str) -> Passage:
    """Return the passage of a line of id, tab, text."""
    id_, text = split_columns(line, "id", "text")
    return Passage(require_id(id_), require_text(text))


def read_queries_tsv(
    path: Path | str, *, encoding: Encoding | None = None, skips: SkipReport | None = None
) -> Iterator[Query]:
    """Yield the queries of a file of id, tab, text."""
    passages = read_passages_tsv(path, encoding=encoding, skips=skips)
    return (Query(passage.id, passage.text) for passage in passages)


def read_qrels(path: Path | str, *, skips: SkipReport | None = None) -> Iterator[Qrel]:
    """Yield the judgements of a TREC file: query, 0, passage, grade, separated by white space."""
    return read_records([path], _qrel, key=attrgetter("query_id", "passage_id"), skips=skips)


def _qrel(line: str) -> Qrel:
    query, _, passage, grade = split_columns(line, "query", "0", "passage", "grade", by=None)
    return Qrel(query, passage, require_grade(grade))


def recognise_multi_cpr(folder: Folder) -> Dataset | None:
    """Return the Multi-CPR data set in `folder`, or None when it holds none."""
    parts = [name for name in folder.files if name.startswith("corpus_split_")]
    if "corpus.tsv" not in folder.files and not parts:
        return None
    if parts and tuple(sorted(parts)) != _PARTS:
        raise FormatError(
            f"a corpus in parts needs {', '.join(_PARTS)}, found {', '.join(sorted(parts))}; "
            "fetch the missing ones",
            path=folder.path,
        )
    if parts and "corpus.tsv" in folder.files:
        raise FormatError("holds corpus.tsv and its parts; remove one of them", path=folder.path)
    corpus = [folder.files[name] for name in (_PARTS if parts else ["corpus.tsv"])]
    return _dataset(folder, corpus, folder.named("", ".query.txt"), form="multi-cpr")


def recognise_ms_marco(folder: Folder) -> Dataset | None:
    """Return the MS MARCO data set in `folder`, or None when it holds none."""
    if "collection.tsv" not in folder.files:
        return None
    corpus = [folder.files["collection.tsv"]]
    return _dataset(folder, corpus, folder.named("queries.", ".tsv"), form="ms-marco")


def _dataset(
    folder: Folder, corpus: Sequence[Path], queries: dict[str, Path], *, form: str
) -> Dataset:
    qrels = folder.named("qrels.", ".tsv")
    splits = [name for name in queries if name in qrels]
    return Dataset(
        folder=folder,
        format=form,
        files=(*corpus, *(path for name in splits for path in (queries[name], qrels[name]))),
        read_passages=partial(read_passages_tsv, *corpus),
        read_queries={name: partial(read_queries_tsv, queries[name]) for name in splits},
        read_qrels={name: partial(read_qrels, qrels[name]) for name in splits},
    )
