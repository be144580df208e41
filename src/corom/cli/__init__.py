"""The command line: one file per verb, each of which parses, calls the library and prints.

Nothing heavy is imported before a verb runs, so that `corom --help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from corom import __version__
from corom.cli import (
    cluster,
    convert,
    data,
    doctor,
    download,
    encode,
    evaluate,
    index,
    rank,
    search,
    serve,
    similarity,
)
from corom.cli.console import complain
from corom.errors import CoromError, FormatError, InputError

app = typer.Typer(
    name="corom",
    help="Chinese medical text embeddings: encode, compare, search, train, serve.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_VERBS = (
    *(encode, rank, similarity, cluster),
    *(index, search, evaluate, serve),
    *(convert, download, doctor),
)
for verb in _VERBS:
    app.command(verb.__name__.rpartition(".")[2])(verb.command)
app.add_typer(data.app, name="data")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"corom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for wrong usage or input, else 1."""
    try:
        app(args=arguments, prog_name="corom")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except CoromError as error:
        complain(str(error))
        return 2 if isinstance(error, InputError | FormatError) else 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # a full disk, a file that may not be written
        complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
