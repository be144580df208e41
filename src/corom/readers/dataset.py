"""What every data set offers, whatever its files look like: passages, queries, qrels, checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from corom.errors import FormatError, InputError
from corom.files import sha256
from corom.readers.compression import plain_name
from corom.readers.lines import SkipReport
from corom.records import Passage, Qrel, Query

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


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


class Folder(NamedTuple):
    """The files of a folder by their names without the ending of a compression."""

    path: Path
    files: Mapping[str, Path]

    def named(self, prefix: str, suffix: str) -> dict[str, Path]:
        """Return the files called `prefix`, a name, `suffix`, by that name."""
        return {
            between: path
            for name, path in self.files.items()
            if name.startswith(prefix) and name.endswith(suffix)
            if "/" not in (between := name.removeprefix(prefix).removesuffix(suffix))
        }


class Read(Protocol[T_co]):
    """What reads records of a data set."""

    def __call__(self, *, skips: SkipReport | None) -> Iterator[T_co]:
        """Yield them, anew each time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A folder with a corpus, and queries and qrels for each split; everything is streamed.

    `format` says what was recognised, `files` what is read. With `skips` set, bad records are
    counted there; without it the first one raises FormatError.
    """

    folder: Folder
    format: str
    files: tuple[Path, ...]
    read_passages: Read[Passage]
    read_qrels: Mapping[str, Read[Qrel]]
    """by split: there are no others"""
    read_queries: Mapping[str, Read[Query]] = field(default_factory=dict)
    """by split"""
    read_all_queries: Read[Query] | None = None
    """where one file holds those of all splits: a split's are those that its qrels name"""
    skips: SkipReport | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.read_qrels)

    @property
    def unused(self) -> tuple[str, ...]:
        """What lies in the folder besides the files that are read."""
        others = (path for path in self.folder.files.values() if path not in self.files)
        return tuple(sorted(map(self._relative, others)))

    def passages(self) -> Iterator[Passage]:
        """Yield every passage in the order of the files (about 100 bytes of memory each)."""
        return self.read_passages(skips=self.skips)

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the queries of a split in the order of its file; InputError if there is none."""
        if self.read_all_queries is None:
            return self._of(split, self.read_queries)
        judged = {qrel.query_id for qrel in self.qrels(split)}
        return (query for query in self.read_all_queries(skips=self.skips) if query.id in judged)

    def qrels(self, split: str) -> Iterator[Qrel]:
        """Yield the judgements of a split, those of grade 0 too; InputError if there is none."""
        return self._of(split, self.read_qrels)

    def stray_queries(self) -> int:
        """How many queries belong to no split."""
        if self.read_all_queries is None:
            return 0
        judged = {qrel.query_id for split in self.splits for qrel in self.qrels(split)}
        return sum(query.id not in judged for query in self.read_all_queries(skips=self.skips))

    def describe(self) -> str:
        """Return what was found where, as lines of text."""
        lines = [
            f"{self.name}: {self.format} data set in {self.path}",
            f"splits: {', '.join(self.splits) or 'none, a corpus only'}",
            f"reads: {', '.join(map(self._relative, self.files))}",
        ]
        if self.unused:
            lines.append(f"does not read: {', '.join(self.unused)}")
        return "\n".join(lines)

    def checksum(self) -> str:
        """Return the SHA-256 over the names and contents of the files read (about 1 s per GB)."""
        return checksum({self._relative(path): path for path in self.files})

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

    def _of(self, split: str, readers: Mapping[str, Read[T]]) -> Iterator[T]:
        if split not in readers:
            known = ", ".join(self.splits) or "none"
            raise InputError(f"{self.path} has no split {split!r}; it has: {known}")
        return readers[split](skips=self.skips)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


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


def checksum(files: Mapping[str, Path]) -> str:
    """Return the SHA-256 over the names and contents of files (about 1 s per GB)."""
    lines = sorted(f"{name} {sha256(path)}\n" for name, path in files.items())
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
