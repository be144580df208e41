"""What the verbs share: checks of where they write, and what they print."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path

import typer

from corom.errors import CoromError, InputError

STDIN = "-"


def check_output(out: Path, source: str | Path = STDIN) -> None:
    """Raise InputError, before hours pass, if `out` cannot be written or is the input itself."""
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file")
    if out.exists() and any(out.samefile(file) for file in _files_of(str(source))):
        raise InputError(f"{out} is the input itself; write to another file")
    if out.exists() and not out.is_file() and os.access(out, os.W_OK):
        return  # /dev/stdout, a pipe
    folder = next(parent for parent in out.resolve().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{out} cannot be written: {folder} is no folder or is read-only")


def check_table(out: Path, source: str) -> None:
    """Raise InputError, before hours pass, if a table cannot be written to `out`."""
    check_output(out, source)
    is_sheet(out)


def is_sheet(out: Path) -> bool:
    """Whether a table is to be a .csv for spreadsheets and not a .tsv."""
    from corom.readers.compression import plain_name

    name = plain_name(out.name).lower()
    if name.endswith(".xlsx"):
        raise InputError(f"{out} cannot be written; name it .csv, which Excel reads")
    return name.endswith(".csv")


def _files_of(source: str) -> list[Path]:
    """Return the files an input is: itself, or those of a data set's folder."""
    from corom.readers import open_dataset

    where = Path(source)
    if source == STDIN or not where.exists():
        return []
    if where.is_file():
        return [where]
    try:
        return list(open_dataset(where).files)
    except CoromError:  # no data set: pairs, or documents; what else lies there is not read
        return [path for path in where.iterdir() if path.suffix in (".tsv", ".txt", ".md")]


def say(text: str) -> None:
    """Print a line of results on standard output."""
    from corom.text import clean

    typer.echo(clean(text))


def counted(number: int, what: str) -> str:
    """Return `1 text`, `2 texts`, `1,000 texts`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def reasons(counts: Mapping[str, int]) -> str:
    """Return what was left out in words: each reason with how often it was."""
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))


def in_one_line(text: str) -> str:
    """Return the text with a blank for every white space, so that a line of results is one."""
    return " ".join(text.split())


def open_what_is_closed() -> None:
    """Let a standard stream that is closed (`>&-`, some services' stdin) be as /dev/null."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def print_what_cannot_be_shown() -> None:
    """Let what a screen's encoding lacks (an emoji in GBK) be printed by its number, not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say_json(value: object) -> None:
    """Print a result, paths too, as one line of JSON; ASCII where standard output is not UTF-8."""
    ascii_only = codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"
    say(json.dumps(value, ensure_ascii=ascii_only, allow_nan=False, default=os.fspath))


def note(text: str) -> None:
    """Print a remark on standard error."""
    typer.echo(text, err=True)


def complain(text: str) -> None:
    """Print an error on standard error: one line, red on a screen."""
    typer.secho(f"corom: {' '.join(text.splitlines())}", fg="red", err=True)
