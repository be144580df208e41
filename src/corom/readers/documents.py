"""A folder of text files, each of which is one text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from corom.errors import FormatError, InputError
from corom.readers.lines import Encoding, plain_name, undecodable
from corom.records import Passage

ENDINGS = (".txt", ".md")


def open_documents(folder: Path | str, *, encoding: Encoding | None = None) -> Iterator[Passage]:
    """Return each .txt and .md file in `folder` or below as a passage, by path.

    Its id is the path without the ending, with / between folders. Links to folders are not
    followed. Raises InputError when `folder` is no folder, holds no such file, holds compressed
    ones, one whose name is not UTF-8, or two whose ids would be alike; OSError for a folder that
    may not be read; FormatError, with the file, for one that is not in the encoding
    (UTF-8 without one) or has nothing visible.
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
    return (Passage(id_, _read(path, encoding)) for id_, path in texts.items())


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


def _read(path: Path, encoding: Encoding | None) -> str:
    try:
        # Line ends stay as they are: positions in the text are those in the file.
        form = "gb18030" if encoding == "gb18030" else "utf-8-sig"
        with path.open(encoding=form, newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        bad = undecodable(encoding, f" at byte {error.start + 1}")
        raise FormatError(str(bad), path=path) from None
    if not text.strip():
        raise FormatError("has an empty text", path=path)
    return text
