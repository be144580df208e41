"""What every data set offers, whatever its files look like: passages, queries, qrels, checks."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corom.errors import FormatError, InputError
from corom.files import sha256
from corom.readers.lines import SkipReport, plain_name
from corom.records import Passage, Qrel, Query


class SplitCheck(NamedTuple):
    """How the queries, qrels and passages of one split fit together, in numbers."""

    queries: int
    qrels: int
    queries_without_qrels: int
    queries_without_relevant: int
    qrels_without_query: int
    qrels_without_passage: int


class DatasetCheck(NamedTuple):
    """What `Dataset.check` counted."""

    passages: int
    splits: Mapping[str, SplitCheck]
    stray_queries: int

    def describe(self) -> str:
        """Return one line for the corpus and one for each split; a zero is not mentioned."""
        stray = f", {self.stray_queries} queries in no split" if self.stray_queries else ""
        lines = [f"{self.passages} passages{stray}"]
        for name, split in self.splits.items():
            counts = zip(SplitCheck._fields, split, strict=True)
            said = (f"{count} {what.replace('_', ' ')}" for what, count in counts if count)
            lines.append(f"{name}: {', '.join(said)}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset(ABC):
    """A folder with a corpus, and queries and qrels for each split; everything is streamed.

    `format` says what was recognised, `files` what is read, `unused` what lies there besides.
    With `skips` set, bad records are counted there; without it the first one raises FormatError.
    """

    path: Path
    format: str
    splits: tuple[str, ...]
    files: tuple[Path, ...]
    unused: tuple[str, ...] = ()
    skips: SkipReport | None = None

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    @abstractmethod
    def passages(self) -> Iterator[Passage]:
        """Yield every passage in the order of the files (about 100 bytes of memory each)."""

    @abstractmethod
    def queries(self, split: str) -> Iterator[Query]:
        """Yield the queries of a split in the order of its file; InputError if there is none."""

    @abstractmethod
    def qrels(self, split: str) -> Iterator[Qrel]:
        """Yield the judgements of a split, those of grade 0 too; InputError if there is none."""

    def stray_queries(self) -> int:
        """How many queries belong to no split."""
        return 0

    def describe(self) -> str:
        """Return what was found where, as lines of text."""
        lines = [
            f"{self.name}: {self.format} data set in {self.path}",
            f"splits: {', '.join(self.splits) or 'none, a corpus only'}",
            f"reads: {', '.join(self._relative(path) for path in self.files)}",
        ]
        if self.unused:
            lines.append(f"does not read: {', '.join(self.unused)}")
        return "\n".join(lines)

    def checksum(self) -> str:
        """Return the SHA-256 over the names and contents of the files read (about 1 s per GB)."""
        lines = sorted(f"{self._relative(path)} {sha256(path)}\n" for path in self.files)
        return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()

    def check(self) -> DatasetCheck:
        """Read everything once and count what does not fit together (all ids in memory)."""
        passages = {passage.id for passage in self.passages()}
        splits = {split: self._check_split(split, passages) for split in self.splits}
        return DatasetCheck(len(passages), splits, self.stray_queries())

    def _check_split(self, split: str, passages: set[str]) -> SplitCheck:
        queries = {query.id for query in self.queries(split)}
        qrels = list(self.qrels(split))
        judged = {qrel.query_id for qrel in qrels}
        relevant = {qrel.query_id for qrel in qrels if qrel.grade >= 1}
        return SplitCheck(
            queries=len(queries),
            qrels=len(qrels),
            queries_without_qrels=len(queries - judged),
            queries_without_relevant=len((queries & judged) - relevant),
            qrels_without_query=sum(qrel.query_id not in queries for qrel in qrels),
            qrels_without_passage=sum(qrel.passage_id not in passages for qrel in qrels),
        )

    def _require_split(self, split: str) -> str:
        if split not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise InputError(f"{self.path} has no split {split!r}; it has: {known}")
        return split

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


class Folder(NamedTuple):
    """The files of a folder by their names without the ending of a compression."""

    path: Path
    files: Mapping[str, Path]

    def unused(self, *read: Path) -> tuple[str, ...]:
        """Return the names of the files that are not among `read`."""
        others = (path for path in self.files.values() if path not in read)
        return tuple(sorted(path.relative_to(self.path).as_posix() for path in others))


def list_folder(path: Path) -> Folder:
    """Return the files of a folder and of its `qrels` folder; hidden ones are left aside.

    Raises InputError when `path` is no folder, FormatError when a file lies there twice, plain
    and compressed: which one counts would be a guess.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; name the folder that holds the data set")
    files: dict[str, Path] = {}
    for file in sorted([*path.iterdir(), *path.glob("qrels/*")]):
        if not file.is_file() or file.name.startswith("."):
            continue
        name = plain_name(file.relative_to(path).as_posix())
        if name in files:
            raise FormatError(f"lies there as {files[name].name} too; remove one", path=file)
        files[name] = file
    return Folder(path, files)
