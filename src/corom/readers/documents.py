"""A folder of text files, each of which is one text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corom.errors import FormatError, InputError
from corom.readers.lines import plain_name
from corom.records import Passage

ENDINGS = (".txt", ".md")


def open_documents(folder: Path | str) -> Iterator[Passage]:
    """Return each .txt and .md file in `folder` or below as a passage, by path.

    Its id is the path without the ending, with / between folders. Raises InputError when `folder`
    is no folder, holds no such file, holds compressed ones, or two whose ids would be alike;
    FormatError, with the file, for one that is not UTF-8 or has nothing visible in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; check the path")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    packed = [path for path in files if plain_name(path.name) != path.name and _is_text(path)]
    if packed:
        raise InputError(f"{packed[0]} is compressed; unpack it, or move it elsewhere")
    texts: dict[str, Path] = {}
    for path in filter(_is_text, files):
        id_ = path.relative_to(folder).with_suffix("").as_posix()
        if id_ in texts:
            raise InputError(f"{texts[id_]} and {path} would have one id; rename one of them")
        texts[id_] = path
    if not texts:
        raise InputError(f"{folder} holds no {' or '.join(ENDINGS)} file")
    return (Passage(id_, _read(path)) for id_, path in texts.items())


def _is_text(path: Path) -> bool:
    return plain_name(path.name).endswith(ENDINGS)


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"is not UTF-8 at byte {error.start + 1}; convert the file to UTF-8", path=path
        ) from None
    if not text.strip():
        raise FormatError("has an empty text", path=path)
    return text
