"""What the verbs share: loading a model, input files, standard input, progress, output."""

from __future__ import annotations

import codecs
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from corom.models import EMBEDDED

if TYPE_CHECKING:
    from corom.encoder import Encoder, Progress
    from corom.engines.base import EngineName, Precision
    from corom.records import Passage
    from corom.reranker import Reranker, SecondPass
    from corom.splitting import Splitter

STDIN, BM25 = "-", "bm25"


def load_encoder(
    model: str,
    *,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: str = "auto",
    max_length: int | None = None,
    threads: int | None = None,
) -> Encoder:
    """Return the encoder the flags ask for; what it warns of goes to standard error."""
    from corom.encoder import Encoder

    with _warnings_noted():
        return Encoder.load(
            model,
            engine=engine,
            precision=precision,
            device=device,
            max_length=max_length,
            threads=threads,
        )


def load_reranker(model: str, **options: Any) -> Reranker:  # noqa: ANN401
    """Return the reranker the flags ask for; `options` are those of `load_encoder`."""
    from corom.reranker import Reranker

    with _warnings_noted():
        return Reranker.load(model, **options)


def load_second_pass(
    model: str,
    *,
    depth: int | None,
    share: float | None,
    **options: Any,  # noqa: ANN401 - those of load_reranker
) -> SecondPass:
    """Return the second pass the flags ask for."""
    from corom.reranker import SecondPass

    return SecondPass(
        reranker=load_reranker(model, **options),
        depth=50 if depth is None else depth,
        share=0.5 if share is None else share,
    )


def second_pass(
    model: str | None,
    *,
    depth: int | None,
    share: float | None,
    **options: Any,  # noqa: ANN401 - those of load_reranker
) -> Callable[[], SecondPass] | None:
    """Return what loads the reranker, if one was named; InputError for its flags without it."""
    from corom.errors import InputError

    if model is not None:
        return partial(load_second_pass, model, depth=depth, share=share, **options)
    if depth is not None or share is not None:
        raise InputError("--rerank-depth and --rerank-share belong to --rerank")
    return None


def load_splitter(model: str, *, part_tokens: int, reads: int | None = None) -> Splitter:
    """Return what cuts texts for a model that reads so many tokens.

    For an index of words (bm25) it counts the tokens of the embedded model.
    """
    from corom.errors import InputError
    from corom.splitting import Splitter

    if reads is not None and part_tokens > reads:
        raise InputError(f"--part-tokens {part_tokens}: {model} reads only {reads}")
    return Splitter.load(EMBEDDED if model == BM25 else model, max_tokens=part_tokens)


def nameable(passages: Iterator[Passage]) -> Iterator[Passage]:
    """Yield the passages; refuse one that parts could not be named after, before hours pass."""
    from corom.splitting import check_text_id

    for passage in passages:
        check_text_id(passage.id)
        yield passage


@contextmanager
def _warnings_noted() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        note(str(warning.message))


def check_output(out: Path, source: str | Path = STDIN) -> None:
    """Raise InputError, before hours pass, if `out` cannot be written or is the input itself."""
    from corom.errors import InputError

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
    from corom.errors import InputError
    from corom.readers.lines import plain_name

    name = plain_name(out.name).lower()
    if name.endswith(".xlsx"):
        raise InputError(f"{out} cannot be written; name it .csv, which Excel reads")
    return name.endswith(".csv")


def _files_of(source: str) -> list[Path]:
    """Return the files an input is: itself, or those of a data set's folder."""
    from corom.errors import CoromError
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


class Meter:
    """What an encoder reports its progress to: a bar on the screen, and the figures at the end."""

    def __init__(
        self, show: Callable[[int], None], expect: Callable[[int, int], None] | None = None
    ) -> None:
        self._show, self._start = show, time.perf_counter()
        self._expect = expect
        self.texts = self.truncated = self.tokens = 0

    def __call__(self, progress: Progress) -> None:
        """Take what is done so far."""
        self.texts, self.truncated, self.tokens = progress
        self._show(self.texts)

    def expect(self, total: int, *, done: int) -> None:
        """Begin the bar again with `total` texts, `done` of which were there before."""
        if self._expect:
            self._expect(total, done)

    def figures(self) -> dict[str, float]:
        """Return texts, truncated texts, tokens, seconds and texts per second so far."""
        seconds = time.perf_counter() - self._start
        return {
            "texts": self.texts,
            "truncated": self.truncated,
            "tokens": self.tokens,
            "seconds": round(seconds, 3),
            "texts_per_second": round(self.texts / seconds, 1),
        }

    def sentence(self, *, max_length: int) -> str:
        """Return the figures as a sentence."""
        found = self.figures()
        return (
            f"{found['texts']:,} texts in {found['seconds']:,.1f} s "
            f"({found['texts_per_second']:,.0f} a second); "
            f"{found['truncated']:,} longer than {max_length} tokens, cut there"
            + (" (corom split makes parts of them)" if found["truncated"] else "")
        )


@contextmanager
def progress_bar(total: int | Callable[[], int | None] | None) -> Iterator[Meter]:
    """Yield a meter with a bar on standard error, if that is a screen.

    A `total` that must be counted first is counted for a screen only.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    console = Console(stderr=True)
    if callable(total):
        total = total() if console.is_terminal else None
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=total, rate="")

        def show(done: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, rate=f"{speed:,.0f} texts/s" if speed else "")

        def expect(total: int, done: int) -> None:
            bar.reset(task, total=total, completed=done, rate="")

        yield Meter(show, expect)


@contextmanager
def download_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield what a download reports to: name, bytes so far, bytes in all."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TransferSpeedColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        yield show


def say(text: str) -> None:
    """Print a line of results on standard output."""
    from corom.text import clean

    typer.echo(clean(text))


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
    """Print a result as one line of JSON; in ASCII where standard output is not UTF-8."""
    ascii_only = codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"
    say(json.dumps(value, ensure_ascii=ascii_only, allow_nan=False))


def note(text: str) -> None:
    """Print a remark on standard error."""
    typer.echo(text, err=True)


def complain(text: str) -> None:
    """Print an error on standard error: one line, red on a screen."""
    typer.secho(f"corom: {' '.join(text.splitlines())}", fg="red", err=True)
