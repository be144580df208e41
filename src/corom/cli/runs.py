"""What the verbs that train share: settings and changes to them, progress, the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from corom.cli.console import counted, note, reasons, say, say_json

if TYPE_CHECKING:
    from corom.training.frame import Finished
    from corom.training.progress import Counted, Progress
    from corom.training.settings import PretrainSettings, RerankerSettings, TrainSettings

Show: TypeAlias = "Callable[[str, Progress | Counted], None]"

_EVERY_S = 30.0


def changes(assignments: Sequence[str] | None, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what the flags say as tables: `settings` that are given, then each KEY=VALUE."""
    from corom.training.tables import assigned, merged

    found = {
        key: str(v) if isinstance(v, Path) else v
        for key, v in settings.items()
        if v not in (None, [])
    }
    for text in assignments or ():
        found = merged(found, assigned(text), new_first=False)  # in the order they are given
    return found


@contextmanager
def run_bars(measure: str = "dev") -> Iterator[Show]:
    """Yield what a run reports a step's name and progress to.

    On a screen every step has a bar; elsewhere a line is written now and then. Dev figures are
    lines of their own in both.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    figures = TextColumn("{task.fields[figures]}")
    with Bars(
        *columns,
        figures,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
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
                console.print(f"{line}  {measure} {100 * dev:.2f}", soft_wrap=True)
            elif not console.is_terminal and time.monotonic() - last > _EVERY_S:
                console.print(line, soft_wrap=True)
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


def follow(
    name: str,
    chosen: TrainSettings | PretrainSettings | RerankerSettings,
    run: Callable[..., Finished],
    *,
    as_json: bool,
) -> None:
    """Run a training verb under its bars, say what came of it, and leave the other processes."""
    from corom.training.processes import part

    measure = chosen.dev.measure if chosen.dev else "dev"
    with run_bars(measure) as show:
        finished = run(chosen, progress=lambda now: show(name, now))
    say_finished(finished, measure=measure, as_json=as_json)
    part()


def say_finished(finished: Finished, *, measure: str, as_json: bool) -> None:
    """Print where a finished model lies and how it did; only the main process does."""
    from corom.environment import is_main_process

    if not is_main_process():
        return
    if as_json:
        say_json(vars(finished))
        return
    _note_data(finished.model.parent / "data.json")
    time_taken = f"{counted(finished.steps, 'step')} in {finished.seconds / 60:,.1f} min"
    if finished.best_step:
        best = 100 * finished.dev[str(finished.best_step)]
        note(f"best {measure} while training: {best:.2f}, step {finished.best_step:,}")
    figure = "" if finished.final_dev is None else f", {measure} {100 * finished.final_dev:.2f}"
    say(f"{finished.model}: {time_taken}{figure}")


def _note_data(path: Path) -> None:
    """Say what was left out of the data, and if the model reads less than it did."""
    from corom.files import read_json

    found = read_json(path)
    reads = found.get("tokens read")
    if reads and reads["now"] < reads["before"]:
        note(
            f"the model reads {reads['now']} tokens, the one it began from {reads['before']}: as "
            "data.passage_length says"
        )
    counts = {**found.get("left out", {}), **found.get("graded pairs left out", {})}
    if counts:
        note(f"left out of the data ({path}): {reasons(counts)}")
