"""A folder of text files, each of which is one text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from corom.errors import InputError
from corom.readers.compression import plain_name
from corom.readers.fields import require_text
from corom.readers.lines import (
    BOM,
    Encoding,
    SkipReport,
    decoded,
    open_text,
    read_each,
)
from corom.records import Passage

ENDINGS = (".txt", ".md")


def open_documents(
    folder: Path | str, *, encoding: Encoding | None = None, skips: SkipReport | None = None
) -> Iterator[Passage]:
    """Return each .txt and .md file in `folder` or below as a passage, by path.

    Its id is the path without the ending, with / between folders. Links to folders are not
    followed. Raises InputError when `folder` is no folder, holds no such file, holds compressed
    ones, one whose name is not UTF-8, or two whose ids would be alike; OSError for a folder that
    may not be read; FormatError, with the file, for one that is not in the encoding
    (UTF-8 without one) or has nothing visible, unless `skips` counts it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; check the path")
    texts: dict[str, Path] = {}
    for path in sorted(filter(_is_text, _files(folder))):
        if not path.name.lower().endswith(ENDINGS):
            raise InputError(f"{path} is compressed; unpack it, or move it elsewhere")
        id_ = path.relative_to(folder).with_suffix("").as_posix()
        if id_ != id_.encode(errors="replace").decode():
            raise InputError(f"{str(path)!r}: its name is not UTF-8; rename it")
        if id_ in texts:
            raise InputError(f"{texts[id_]} and {path} would have one id; rename one of them")
        texts[id_] = path
    if not texts:
        raise InputError(f"{folder} holds no {' or '.join(ENDINGS)} file")
    return _read(texts, encoding, skips)


def other_files(folder: Path | str) -> Counter[str]:
    """Return what else lies in the folder or below, and `open_documents` leaves out, by ending."""
    others = (path for path in _files(Path(folder)) if not _is_text(path))
    return Counter(path.suffix.lower() or "no ending" for path in others)


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (path for name in names if (path := Path(place, name)).is_file())


def _is_text(path: Path) -> bool:
    return plain_name(path.name.lower()).endswith(ENDINGS)


def _read(
    texts: dict[str, Path], encoding: Encoding | None, skips: SkipReport | None
) -> Iterator[Passage]:
    def parse(file: tuple[str, Path]) -> Passage:
        id_, path = file
        with open_text(path, encoding) as raw:
            text = decoded(raw.read().removeprefix(BOM), encoding)
        return Passage(id_, require_text(text))

    return read_each(((path, None, (id_, path)) for id_, path in texts.items()), parse, skips=skips)
