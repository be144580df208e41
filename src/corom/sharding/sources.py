"""Where passages come from: files here or behind any fsspec URL, read from any place in them.

| kind | a record is | a place is |
|---|---|---|
| `jsonl`, `tsv` | a line | a byte of the uncompressed file |
| `txt` | a line; its id is its number, of several files `FILE:NUMBER` | a byte of the same |
| `parquet` | a row with `id` (or `_id`, `docid`), `text`, `title` | a row |
| `dataset` | a passage of a folder that `open_dataset` knows | a passage |

Going to a place in a plain file costs nothing, in a compressed one it means decompressing what
comes before: corpora of many files, plain files and parquet are quickest.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice, takewhile
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple, TypeAlias

from corom.errors import FormatError, InputError
from corom.extras import need
from corom.readers import open_dataset
from corom.readers.compression import BROKEN, decompressed, open_bytes, plain_name
from corom.readers.fields import json_object, require_text
from corom.readers.jsonl import passage_of_record
from corom.readers.lines import BadRecordError, decoded, line_content
from corom.readers.tsv import passage_of_columns
from corom.records import Passage

Kind: TypeAlias = Literal["jsonl", "tsv", "txt", "parquet", "dataset"]
_ENDINGS: tuple[tuple[str, Kind], ...] = (
    (".jsonl", "jsonl"),
    (".tsv", "tsv"),
    (".txt", "txt"),
    (".parquet", "parquet"),
)
_COLUMNS = ("id", "_id", "docid", "text", "title")
_SKIPPED = 1 << 20


class Source(NamedTuple):
    """One file (or data set folder) of passages."""

    url: str
    """an absolute path, or an fsspec URL"""
    kind: Kind
    stamp: str
    """changes when the file does: its size and time here, what the store says elsewhere"""
    prefix: str = ""
    """of ids that are numbers of lines: tells those of several files apart"""


class Place(NamedTuple):
    """Where in a source a record begins; see the table above for what `offset` counts."""

    offset: int = 0
    line: int = 1
    """number of the line or row, from 1, for error messages"""


class Placed(NamedTuple):
    """A passage, and where its record begins."""

    passage: Passage
    start: Place


def find_sources(name: str) -> list[Source]:
    """Return the files that a path, a pattern (`part-*.jsonl`), a folder or an fsspec URL names.

    In the order of their names. A folder is that of a data set, or one of files of passages.
    Raises InputError when there is none, MissingExtraError for a URL without the extra `cloud`.
    """
    if "://" in name:
        return _remote_sources(name)
    path = Path(name)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _kind(file.name) is not None)
        if not files or _is_dataset(file.name for file in path.iterdir()):
            dataset = open_dataset(path)
            stamp = " ".join(_stamp(file) for file in dataset.files)
            return [Source(str(path.resolve()), "dataset", stamp)]
    elif path.is_file():
        files = [path]
    else:
        # Path.glob takes no pattern that begins at the root.
        files = [Path(each) for each in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207
    found = [Source(_place(f), kind, _stamp(f)) for f in files if (kind := _kind(f.name))]
    if not found or len(found) < len(files):
        raise InputError(
            f"{name} names no file of passages; give .jsonl, .tsv, .txt or .parquet files, a "
            "pattern in quotes, the folder of a data set, or an fsspec URL"
        )
    return _told_apart(found)


def _place(file: Path) -> str:
    # Of a link, as in the Hugging Face cache, only its own name has the ending; its folder may be
    # named in several ways.
    return str(file.parent.resolve() / file.name)


def _told_apart(found: list[Source]) -> list[Source]:
    """Return the sources; if several have lines without ids, each of these with a prefix.

    The prefix is the path from the last folder that all of them lie in.
    """
    paths = [source.url.split("/") for source in found if source.kind == "txt"]
    if len(paths) <= 1:
        return found
    shared = len(list(takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))))
    own = iter("/".join(path[shared:]) for path in paths)
    return [s._replace(prefix=f"{next(own)}:") if s.kind == "txt" else s for s in found]


def _is_dataset(files: Iterable[str]) -> bool:
    """Whether of a folder's files some are none of passages, or cannot be read one by one.

    Beside a corpus lie queries and labels, and Multi-CPR cuts its own anywhere.
    """
    names = set(map(plain_name, files))
    labelled = any(name.startswith("qrels") for name in names)
    return (
        not names.isdisjoint(("corpus.jsonl", "corpus_split_1.tsv", "collection.tsv"))
        or ("corpus.tsv" in names and labelled)
        or any(name.endswith("_candidates.txt") for name in names)  # cMedQA2
    )


def _kind(name: str) -> Kind | None:
    plain = plain_name(name)
    if name.startswith("."):
        return None
    return next((kind for ending, kind in _ENDINGS if plain.endswith(ending)), None)


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def _remote_sources(name: str) -> list[Source]:
    system, path = need("fsspec", extra="cloud").core.url_to_fs(name)
    try:
        names = [path] if system.isfile(path) else sorted(map(str, system.glob(path))) or [path]
        if len(names) == 1 and system.isdir(names[0]):
            names = sorted(map(str, system.ls(names[0], detail=False)))
            if _is_dataset(PurePosixPath(each).name for each in names):
                raise InputError(
                    f"{name} is the folder of a data set, which is read on this machine only; "
                    "copy it here, or name the files of its corpus"
                )
        found = [
            Source(system.unstrip_protocol(each), kind, system.ukey(each))
            for each in names
            if (kind := _kind(PurePosixPath(each).name))
        ]
    except OSError as error:
        raise InputError(f"{name} cannot be listed ({type(error).__name__}: {error})") from None
    if not found:
        raise InputError(f"{name} names no .jsonl, .tsv, .txt or .parquet file; check the URL")
    return _told_apart(found)


def current_stamp(source: Source) -> str:
    """Return the stamp a source has now; InputError if it is gone."""
    if "://" in source.url or source.kind == "dataset":
        return find_sources(source.url)[0].stamp
    path = Path(source.url)
    if not path.is_file():
        raise InputError(f"{path} is gone; bring it back")
    return _stamp(path)


def read_from(source: Source, start: Place = Place()) -> Iterator[Placed]:  # noqa: B008 - a constant
    """Yield the passages of a source from a place on; FormatError says where one is broken."""
    if source.kind == "dataset":
        return _read_dataset(source, start)
    if source.kind == "parquet":
        return _read_parquet(source, start)
    return _read_lines(source, start)


def _read_dataset(source: Source, start: Place) -> Iterator[Placed]:
    passages = islice(open_dataset(source.url).passages(), start.offset, None)
    for row, passage in enumerate(passages, start.offset):
        yield Placed(passage, Place(row, row + 1))


def _read_lines(source: Source, start: Place) -> Iterator[Placed]:
    with _open(source) as file:
        _skip(file, start.offset, source)
        here = start
        for raw in file:
            try:
                line = decoded(line_content(raw, first=here.offset == 0))
                passage = _passage(source, line, here.line)
            except BadRecordError as bad:
                raise FormatError(str(bad), path=source.url, line=here.line) from None
            yield Placed(passage, here)
            here = Place(here.offset + len(raw), here.line + 1)


def _passage(source: Source, line: str, number: int) -> Passage:
    if source.kind == "jsonl":
        return passage_of_record(json_object(line))
    if source.kind == "tsv":
        return passage_of_columns(line)
    return Passage(f"{source.prefix}{number}", require_text(line))


@contextmanager
def _open(source: Source) -> Iterator[IO[bytes]]:
    """Yield the uncompressed bytes of a source."""
    if "://" not in source.url:
        with open_bytes(Path(source.url)) as file:
            yield file
        return
    with _open_raw(source) as raw, decompressed(raw, PurePosixPath(source.url).suffix) as file:
        yield file


@contextmanager
def _open_raw(source: Source) -> Iterator[IO[bytes]]:
    """Yield the bytes of a source as they are; what the store says comes as FormatError."""
    if "://" not in source.url:
        with Path(source.url).open("rb") as file:
            yield file
        return
    try:
        with need("fsspec", extra="cloud").open(source.url, "rb") as file:
            yield file
    except BROKEN as error:
        raise FormatError(
            f"cannot be read ({type(error).__name__}: {error})", path=source.url
        ) from error


def _skip(file: IO[bytes], offset: int, source: Source) -> None:
    if offset and file.seekable():
        file.seek(offset)
        return
    while offset:
        passed = len(file.read(min(offset, _SKIPPED)))
        if not passed:
            raise FormatError("is shorter than it was; start again", path=source.url)
        offset -= passed


def _read_parquet(source: Source, start: Place) -> Iterator[Placed]:
    parquet = need("pyarrow.parquet", extra="parquet")
    with _open_raw(source) as raw:
        try:
            yield from _table_rows(parquet.ParquetFile(raw), source, start.offset)
        except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
            if isinstance(error, InputError):
                raise
            raise FormatError(f"cannot be read as parquet ({error})", path=source.url) from None


def _table_rows(file: Any, source: Source, start: int) -> Iterator[Placed]:  # noqa: ANN401
    columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
    groups, row = _groups_from(file.metadata, start)
    for batch in file.iter_batches(row_groups=groups, columns=columns):
        first = max(row, start)
        for number, record in enumerate(batch.to_pylist()[first - row :], first):
            try:
                passage = passage_of_record(record)
            except BadRecordError as bad:
                raise FormatError(str(bad), path=source.url, line=number + 1) from None
            yield Placed(passage, Place(number, number + 1))
        row += batch.num_rows


def _groups_from(metadata: Any, start: int) -> tuple[list[int], int]:  # noqa: ANN401
    """Return the row groups that hold row `start` and what follows, and their first row."""
    first, group = 0, 0
    while group < metadata.num_row_groups:
        rows = metadata.row_group(group).num_rows
        if first + rows > start:
            break
        first, group = first + rows, group + 1
    return list(range(group, metadata.num_row_groups)), first
