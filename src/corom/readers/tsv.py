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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, eq=False)
class TsvDataset(Dataset):
    """A Multi-CPR or MS MARCO folder."""

    corpus: tuple[Path, ...]
    query_files: Mapping[str, Path]
    qrels_files: Mapping[str, Path]

    def passages(self) -> Iterator[Passage]:
        """Yield every passage in the order of the files."""
        return read_passages_tsv(*self.corpus, skips=self.skips)

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the queries of a split in the order of its file."""
        return read_queries_tsv(self.query_files[self._require_split(split)], skips=self.skips)

    def qrels(self, split: str) -> Iterator[Qrel]:
        """Yield the judgements of a split."""
        return read_qrels(self.qrels_files[self._require_split(split)], skips=self.skips)


def recognise_multi_cpr(folder: Folder, skips: SkipReport | None) -> Dataset | None:
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
    corpus = tuple(folder.files[name] for name in (_PARTS if parts else ["corpus.tsv"]))
    queries = _named(folder, prefix="", suffix=".query.txt")
    return _dataset(folder, skips, corpus=corpus, queries=queries, form="multi-cpr")


def recognise_ms_marco(folder: Folder, skips: SkipReport | None) -> Dataset | None:
    """Return the MS MARCO data set in `folder`, or None when it holds none."""
    if "collection.tsv" not in folder.files:
        return None
    queries = _named(folder, prefix="queries.", suffix=".tsv")
    corpus = (folder.files["collection.tsv"],)
    return _dataset(folder, skips, corpus=corpus, queries=queries, form="ms-marco")


def _named(folder: Folder, *, prefix: str, suffix: str) -> dict[str, Path]:
    return {
        name.removeprefix(prefix).removesuffix(suffix): path
        for name, path in folder.files.items()
        if name.startswith(prefix) and name.endswith(suffix) and "/" not in name
    }


def _dataset(
    folder: Folder,
    skips: SkipReport | None,
    *,
    corpus: tuple[Path, ...],
    queries: dict[str, Path],
    form: str,
) -> TsvDataset:
    qrels = _named(folder, prefix="qrels.", suffix=".tsv")
    splits = tuple(name for name in queries if name in qrels)
    files = (*corpus, *(path for name in splits for path in (queries[name], qrels[name])))
    return TsvDataset(
        path=folder.path,
        format=form,
        splits=splits,
        files=files,
        unused=folder.unused(*files),
        skips=skips,
        corpus=corpus,
        query_files=queries,
        qrels_files=qrels,
    )
