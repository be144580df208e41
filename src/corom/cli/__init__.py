"""The command line: a file per verb (its first word), which parses, calls the library, prints.

Nothing heavy is imported before a verb runs, so that `corom --help` is quick.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from corom import __version__
from corom.cli import (
    average,
    cluster,
    convert,
    data,
    doctor,
    download,
    encode,
    evaluate,
    index,
    mine,
    plan,
    pretrain,
    rank,
    search,
    serve,
    similarity,
    split,
    train,
)
from corom.cli.console import complain, open_what_is_closed, print_what_cannot_be_shown
from corom.environment import is_first_here, process_count
from corom.errors import CoromError, FormatError, InputError


class _Verbs(TyperGroup):
    """Verbs, of which some are two words: `train` and `train two-stage`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - click's or typer's
        if " ".join(args[:2]) in self.commands:
            args = [" ".join(args[:2]), *args[2:]]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="corom",
    cls=_Verbs,
    help="Chinese medical text embeddings: encode, compare, search, train, serve.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_VERBS: dict[str, Callable[..., None]] = {
    "encode": encode.command,
    "rank": rank.command,
    "similarity": similarity.command,
    "cluster": cluster.command,
    "split": split.command,
    "index": index.command,
    "search": search.command,
    "evaluate": evaluate.command,
    "serve": serve.command,
    "plan": plan.command,
    "pretrain": pretrain.command,
    "train": train.command,
    "train two-stage": train.two_stage,
    "train reranker": train.reranker,
    "mine": mine.command,
    "average": average.command,
    "convert": convert.command,
    "download": download.command,
    "doctor": doctor.command,
}
for name, verb in _VERBS.items():
    app.command(name)(verb)
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


_STOPPED: dict[object, str] = {
    128 + signal.SIGINT: "stopped by Ctrl-C",
    128 + signal.SIGTERM: "stopped by SIGTERM",
}


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: drafts are removed, worker processes ended.

    Not under torchrun, whose processes wait for each other and must be gone at once.
    """
    if process_count() > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for wrong usage or input, else 1."""
    open_what_is_closed()
    print_what_cannot_be_shown()
    try:
        with _ended_by_sigterm():
            app(args=arguments, prog_name="corom")
    except SystemExit as stop:
        if stop.code in _STOPPED and is_first_here():
            complain(_STOPPED[stop.code])
        return stop.code if isinstance(stop.code, int) else 1
    except CoromError as error:
        if is_first_here():  # the others say the same
            complain(str(error))
        return 2 if isinstance(error, InputError | FormatError) else 1
    except KeyboardInterrupt:
        complain(_STOPPED[130])
        return 130
    except OSError as error:  # a full disk, a file that may not be written
        complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return 1
    except MemoryError as error:
        complain(f"there is not enough memory. {error}".rstrip())
        return 1
    return 0
