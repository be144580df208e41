"""`corom pretrain`: CoROM pre-training on plain text."""

from __future__ import annotations

from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.runs import changes, follow


def command(
    settings: flags.Settings = None,
    model: flags.StartFrom = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--texts",
            help="Repeatable, the setting texts: a .txt file (a document a line), passages, or "
            "the folder of a data set.",
        ),
    ] = None,
    output: flags.RunFolder = None,
    set_: flags.Changes = None,
    as_json: flags.Json = False,
) -> None:
    """Pre-train an encoder on plain text, for retrieval.

    The encoder is OUTPUT/model, for corom train to start from. The same command again goes on
    after a kill. Several GPUs: torchrun --nproc_per_node 4 -m corom pretrain … (extra train).
    """
    from corom.training import pretrain
    from corom.training.settings import PretrainSettings, load_settings

    asked = changes(set_, model=model, output=output, texts=texts)
    chosen = load_settings(PretrainSettings, settings, changes=asked)
    follow("pretrain", chosen, pretrain, as_json=as_json)
