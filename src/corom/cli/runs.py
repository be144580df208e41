"""What the verbs that train share: changes to settings, the run, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corom.cli.console import counted, note, reasons, say, say_json
from corom.cli.progress import run_bars

if TYPE_CHECKING:
    from corom.training.frame import Finished
    from corom.training.settings import PretrainSettings, RerankerSettings, TrainSettings


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
    _say_finished(finished, measure=measure, as_json=as_json)
    part()


def _say_finished(finished: Finished, *, measure: str, as_json: bool) -> None:
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
