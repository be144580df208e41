"""`corom pretrain`: CoROM pre-training on plain text."""

from __future__ import annotations

from typing import Annotated

import typer

from corom.cli.console import JsonOption
from corom.cli.runs import (
    OutputOption,
    SetOption,
    SettingsArgument,
    StartOption,
    changes,
    run_bars,
    say_finished,
)


def command(
    settings: SettingsArgument = None,
    model: StartOption = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--texts",
            help="Repeatable, the setting texts: a .txt file (a document a line), passages, or "
            "the folder of a data set.",
        ),
    ] = None,
    output: OutputOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pre-train an encoder on plain text, for retrieval.

    The encoder is OUTPUT/model, for corom train to start from. The same command again goes on
    after a kill. Several GPUs: torchrun --nproc_per_node 4 -m corom pretrain … (extra train).
    """
    from corom.training import pretrain
    from corom.training.loop import part
    from corom.training.settings import PretrainSettings, load_settings

    asked = changes(set_, model=model, output=output, texts=texts)
    chosen = load_settings(PretrainSettings, settings, changes=asked)
    measure = chosen.dev.measure if chosen.dev else "dev"
    with run_bars(measure) as show:
        finished = pretrain(chosen, progress=lambda now: show("pretrain", now))
    say_finished(finished, measure=measure, as_json=as_json)
    part()
