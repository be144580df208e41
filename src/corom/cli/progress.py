"""How far long work is: bars on standard error, if that is a screen, and figures at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from corom.cli.console import counted

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn

    from corom.encoder import Progress as Encoded
    from corom.training.progress import Counted, Progress

Show: TypeAlias = "Callable[[str, Progress | Counted], None]"

_EVERY_S = 30.0


@contextmanager
def _bars(*columns: str | ProgressColumn, transient: bool = True) -> Iterator[Bars]:
    """Yield bars of these columns, which only a screen shows."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True, highlight=False)
    hidden = not console.is_terminal
    with Bars(*columns, console=console, transient=transient, disable=hidden) as bars:
        yield bars


class Meter:
    """What an encoder reports its progress to: a bar on the screen, and the figures at the end."""

    def __init__(self, bars: Bars, total: int | None) -> None:
        self._bars, self._task = bars, bars.add_task("", total=total, rate="")
        self._start = time.perf_counter()
        self.texts = self.truncated = self.tokens = 0

    def __call__(self, progress: Encoded) -> None:
        """Take what is done so far."""
        self.truncated, self.tokens = progress.truncated, progress.tokens
        self.count(progress.done)

    def count(self, done: int) -> None:
        """Take how many texts are done, of work that cuts none."""
        self.texts, speed = done, self._bars.tasks[0].speed
        rate = f"{speed:,.0f} texts/s" if speed else ""
        self._bars.update(self._task, completed=done, rate=rate)

    def expect(self, total: int, *, done: int) -> None:
        """Begin the bar again with `total` texts, `done` of which were there before."""
        self._bars.reset(self._task, total=total, completed=done, rate="")

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
            f"{counted(self.texts, 'text')} in {found['seconds']:,.1f} s "
            f"({found['texts_per_second']:,.0f} a second); "
            f"{found['truncated']:,} longer than {max_length} tokens, cut there"
            + (" (corom split makes parts of them)" if found["truncated"] else "")
        )


@contextmanager
def progress_bar(total: int | Callable[[], int | None] | None) -> Iterator[Meter]:
    """Yield a meter with a bar.

    A `total` that must be counted first is counted for a screen only.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    rate = "{task.fields[rate]}"
    with _bars(BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()) as bars:
        if callable(total):
            total = total() if bars.console.is_terminal else None
        yield Meter(bars, total)


@contextmanager
def download_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield what a download reports to: name, bytes so far, bytes in all."""
    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with _bars(*columns, transient=False) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield show


@contextmanager
def run_bars(measure: str = "dev") -> Iterator[Show]:
    """Yield what a run reports a step's name and progress to.

    On a screen every step has a bar; elsewhere a line is written now and then. Dev figures are
    lines of their own in both.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    counts, figures = (BarColumn(), MofNCompleteColumn()), "{task.fields[figures]}"
    with _bars("{task.description}", *counts, figures, TimeRemainingColumn()) as bars:
        tasks: dict[str, Any] = {}
        last = time.monotonic()

        def show(name: str, now: Progress | Counted) -> None:
            nonlocal last
            title, done, total, text = _described(name, now)
            if title not in tasks:
                tasks[title] = bars.add_task(title, total=total, figures="")
            bars.update(tasks[title], completed=done, figures=text)
            line = f"{title} {done:,}/{total:,}  {text}"
            if (dev := getattr(now, "dev", None)) is not None:
                bars.console.print(f"{line}  {measure} {100 * dev:.2f}", soft_wrap=True)
            elif not bars.console.is_terminal and time.monotonic() - last > _EVERY_S:
                bars.console.print(line, soft_wrap=True)
            else:
                return
            last = time.monotonic()

        yield show


def _described(name: str, now: Progress | Counted) -> tuple[str, int, int, str]:
    """Return title, what is done, of how many, and the figures that go with it."""
    from corom.training.progress import Counted

    if isinstance(now, Counted):
        return f"{name}: {now.what}", now.done, now.total, ""
    loss, rate = f"loss {now.loss:.4f}", f"lr {now.learning_rate:.2e}"
    return name, now.step, now.steps, f"{loss}  {rate}  {now.texts_per_s:,.0f} texts/s"
