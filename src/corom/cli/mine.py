"""`corom mine`: hard negatives for training data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corom.cli import flags
from corom.cli.console import note, reasons, say, say_json
from corom.cli.progress import run_bars
from corom.cli.runs import changes

if TYPE_CHECKING:
    from corom.training.mining import Mined


def command(
    settings: flags.Settings = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The setting model: what ranks the passages."),
    ] = None,
    data: flags.Records = None,
    output: flags.RecordsFolder = None,
    source: Annotated[
        Literal["dense", "bm25", "random"] | None,
        typer.Option("--source", help="The setting source: what ranks; bm25: extra lexical."),
    ] = None,
    set_: flags.Changes = None,
    as_json: flags.Json = False,
) -> None:
    """Add hard negatives to training data.

    Passages that rank high for a query and do not answer it. What is dropped is counted: known
    positives, what scores too close to the positive. After a kill the same command encodes only the
    passages that are missing. Under torchrun the first process mines and the others end.
    """
    from corom.environment import is_main_process

    if not is_main_process():
        return
    from corom.training import mine
    from corom.training.mining_settings import MineSettings
    from corom.training.settings import load_settings

    asked = changes(set_, model=model, data=data, output=output, source=source)
    chosen = load_settings(MineSettings, settings, changes=asked)
    with run_bars() as show:
        mined = mine(chosen, progress=lambda now: show("mine", now))
    if as_json:
        say_json(vars(mined))
        return
    _note(mined)
    say("\n".join(map(str, mined.files)))


def _note(mined: Mined) -> None:
    note(
        f"{mined.negatives:,} negatives for {mined.records:,} records, {mined.without:,} without; "
        f"mean rank {mined.mean_rank:.1f} among {mined.passages:,} passages"
    )
    for what, counts in (("dropped", mined.dropped), ("left out", mined.left_out)):
        if counts:
            note(f"{what}: {reasons(counts)}")
