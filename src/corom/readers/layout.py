"""How a file of texts is laid out: what its columns or fields are called, and its encoding.

| | looked for, unless a `Layout` names them |
|---|---|
| passages | `text`; `id` (or `_id`, `docid`); `title` |
| queries | `text` (or `query`); `id` (or `_id`, `query_id`) |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from corom.errors import InputError
from corom.readers.fields import JsonObject
from corom.readers.lines import BadRecordError, Encoding

Names: TypeAlias = Mapping[str, tuple[str, ...]]
"""What a record is made of, and what a column that holds it may be called."""

PASSAGE: Names = {"text": ("text",), "id": ("id", "_id", "docid"), "title": ("title",)}
QUERY: Names = {"text": ("text", "query"), "id": ("id", "_id", "query_id")}
OPTIONAL = ("id", "title")

_NUMBER = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which columns of a table, or fields of jsonl, hold what; None: those of the usual names.

    A column of a table goes by its name or, if none is called so, by its number from 1, "2" being
    the second. Raises InputError for names of columns without a header, and what is no text.
    """

    text: str | None = None
    id: str | None = None
    title: str | None = None
    encoding: Encoding | None = "utf-8"
    """of text files, an .xlsx knows its own; None: UTF-8, where nobody can say otherwise"""
    keep: tuple[str, ...] = ()
    """columns that become fields of the passages"""
    header: bool = True
    """whether a table begins with the names of its columns; else they go by number only"""

    def __post_init__(self) -> None:
        if isinstance(self.keep, str):
            raise InputError(f"keep is {self.keep!r}; give a tuple of columns")
        for name in (*self.chosen.values(), *self.keep):
            if not isinstance(name, str):
                raise InputError(f"a column goes by a text, its number, too, not by {name!r}")
        if own := [name for name in self.keep if name in PASSAGE]:
            raise InputError(f"column {own[0]!r} is the passage's own; keep others")
        if self.header:
            return
        if self.keep:
            raise InputError("--keep names columns by the header, which --no-header says is none")
        if self.text is None:
            raise InputError("--no-header: give --text the number of the texts' column, from 1")
        for role, name in self.chosen.items():
            if not _NUMBER.fullmatch(name):
                raise InputError(f"--no-header: --{role} {name!r} is no number of a column, from 1")

    @property
    def chosen(self) -> dict[str, str]:
        """The names that were given, by what they are for."""
        given = {"text": self.text, "id": self.id, "title": self.title}
        return {role: name for role, name in given.items() if name is not None}

    @property
    def width(self) -> int:
        """Up to which column a table without a header is read."""
        return max(map(int, self.chosen.values()))

    def refuse_columns(self, source: Path | str) -> None:
        """Raise InputError if columns are chosen of what has neither a header nor fields."""
        roles = [*self.chosen, *(["keep"] if self.keep else [])]
        if flags := ", ".join(f"--{role}" for role in roles):
            raise InputError(f"{source}: {flags} name columns of a .csv, .xlsx or .jsonl file")

    def refuse_no_header(self, source: Path | str) -> None:
        """Raise InputError if it is said to have no header and is no table, so never has one."""
        if not self.header:
            raise InputError(f"{source}: --no-header is for a .csv or .xlsx file")

    def refuse(self, source: Path | str) -> None:
        """Raise InputError if anything is chosen: of what is no file of texts."""
        self.refuse_columns(source)
        if self.encoding not in (None, "utf-8"):
            raise InputError(f"{source}: --encoding is for a file of texts")

    def of_record(self, record: JsonObject) -> JsonObject:
        """Return a JSON object with the chosen fields under the usual names."""
        chosen = self.chosen
        for role, name in chosen.items():
            if name not in record and role != "title":
                raise BadRecordError("missing field", f"has no field {name!r}")
        return record | {role: record.get(name) for role, name in chosen.items()}


FIXED = Layout(encoding=None)
"""of files of which nobody was asked: no message names a flag"""


def find_columns(header: list[str], names: Names, layout: Layout) -> dict[str, int]:
    """Return where the column of each of `names` stands, of the optional ones if there is one.

    BadRecordError for a column that is not there or there twice. It does not say what the header
    holds: where there is none it is a patient's question.
    """
    found = {
        role: at
        for role, usual in names.items()
        if (at := _column(header, role, usual, layout.chosen.get(role))) is not None
    }
    if lacking := [role for role in names if role not in found and role not in OPTIONAL]:
        what = ", ".join(" or ".join(names[role]) for role in lacking)
        way = ": say which is the text's with --text, by name or by number"
        raise BadRecordError(
            "wrong columns",
            f"its header lacks {what}; it has {_count(header)}{way if layout != FIXED else ''}",
        )
    return {name: _chosen(header, "keep", name) for name in layout.keep} | found


def _column(header: list[str], role: str, usual: tuple[str, ...], chosen: str | None) -> int | None:
    """Return where a column stands; None if it has no usual name, which may be right."""
    if chosen is not None:
        return _chosen(header, role, chosen)
    name = next((name for name in usual if name in header), None)
    return None if name is None else _place(header, name)


def _chosen(header: list[str], role: str, name: str) -> int:
    """Return where the column of this name or number stands."""
    if name in header:
        return _place(header, name)
    if not _NUMBER.fullmatch(name) or int(name) > len(header):
        raise BadRecordError(
            "wrong columns",
            f"has {_count(header)}, none of them {name!r}; give --{role} the name of one, or its "
            "number from 1",
        )
    return int(name) - 1


def _place(header: list[str], name: str) -> int:
    if header.count(name) > 1:
        raise BadRecordError("wrong columns", f"its header names a column twice: {name}")
    return header.index(name)


def _count(header: list[str]) -> str:
    return f"{len(header)} column" + "s" * (len(header) != 1)
