"""`corom train`: contrastive fine-tuning."""

from __future__ import annotations

from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.runs import changes, follow


def command(
    settings: flags.Settings = None,
    model: flags.StartFrom = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            help="Repeatable, the setting data.train: groups or pairs (.jsonl, plain or packed), "
            "or the folder of a data set.",
        ),
    ] = None,
    output: flags.RunFolder = None,
    set_: flags.Changes = None,
    as_json: flags.Json = False,
) -> None:
    """Train a model on queries and their answers.

    The finished model is OUTPUT/model. The same command again goes on after a kill. Several GPUs:
    torchrun --nproc_per_node 4 -m corom train … (extra train).
    """
    from corom.training import train
    from corom.training.settings import TrainSettings, load_settings

    tables = {"data": {"train": data}} if data else {}
    asked = changes(set_, model=model, output=output, **tables)
    chosen = load_settings(TrainSettings, settings, changes=asked)
    follow("train", chosen, train, as_json=as_json)
