"""Write docs/cli.md from the command line itself: `python docs/make_cli.py` (`make fix` does)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from corom import environment
from corom.cli import app

TARGET = Path(__file__).with_name("cli.md")
HEAD = """\
# Command line

<!-- Made by docs/make_cli.py from the program itself; `make fix` renews it. -->

`corom VERB --help` says the same. Results go to standard output, remarks and progress to standard
error; `--json` prints one line of JSON for programs. Exit codes: 0 done, 2 wrong usage or input,
1 anything else, 130 interrupted, 143 by SIGTERM. Where a file of texts is asked for, it may be
.jsonl (`id`, `text`, `title`), .csv or .xlsx (the same under a header), .tsv (id, tab, text) or
.txt (a text a line), plain or .gz, .xz, .zst; `-` is standard input, a text a line. Files are
written whole or not at all.
"""


def render() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_verbs(app, "corom"), _variables()])


def _variables() -> str:
    """Return the section of environment variables: the table of the module that reads them."""
    lines = (environment.__doc__ or "").splitlines()
    table = "\n".join(line for line in lines if line.startswith("|"))
    return f"## Environment variables\n\n{table}\n"


def _verbs(group: typer.Typer, path: str) -> Iterator[str]:
    for verb in group.registered_commands:
        yield _section(verb.callback, f"{path} {verb.name}")
    for inner in group.registered_groups:
        yield from _verbs(inner.typer_instance, f"{path} {inner.name}")


def _section(callback: Callable[..., None], path: str) -> str:
    hints = get_type_hints(callback, include_extras=True)
    usage, rows = [path], []
    for parameter in inspect.signature(callback).parameters.values():
        kind, info = get_args(hints[parameter.name])
        text, default = info.help or "", parameter.default
        if default is inspect.Parameter.empty:
            text += " Required." if isinstance(info, OptionInfo) else ""
        elif default not in (None, False) and "default:" not in text:
            text += f" Default: {default}."
        rows.append(f"| {_name(kind, info)} | {text.strip()} |")
        if not isinstance(info, OptionInfo):
            usage.append(info.metavar)
    table = "\n".join(["| | |", "|---|---|", *rows])
    described = inspect.cleandoc(callback.__doc__ or "")
    return f"## {path}\n\n{described}\n\n    {' '.join(usage)} [OPTIONS]\n\n{table}\n"


def _name(kind: Any, info: OptionInfo | ArgumentInfo) -> str:  # noqa: ANN401 - a type hint
    if not isinstance(info, OptionInfo):
        return f"`{info.metavar}`"
    # Inside Annotated typer takes the first name for the default.
    declared = (info.default, *(info.param_decls or ()))
    names = ", ".join(f"`{name}`" for name in declared if isinstance(name, str))
    literals = [one for one in (kind, *get_args(kind)) if get_origin(one) is Literal]  # or None
    choices = ", ".join(str(choice) for one in literals for choice in get_args(one))
    return f"{names}: {choices}" if choices else names


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
