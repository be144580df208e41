"""`corom train reranker`: a cross-encoder."""

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
            help="Repeatable, the setting data.train: groups or pairs with negatives (.jsonl, "
            "plain or packed; corom mine writes them), or the folder of a data set.",
        ),
    ] = None,
    output: flags.RunFolder = None,
    set_: flags.Changes = None,
    as_json: flags.Json = False,
) -> None:
    """Train a reranker, which orders the first hits anew.

    It reads a query and a passage together and scores the passage. It starts from an encoder. The
    finished model is OUTPUT/model. The same command again goes on after a kill. Several GPUs:
    torchrun --nproc_per_node 4 -m corom train reranker … (extra train).
    """
    from corom.training import train_reranker
    from corom.training.settings import RerankerSettings, load_settings

    tables = {"data": {"train": data}} if data else {}
    asked = changes(set_, model=model, output=output, **tables)
    chosen = load_settings(RerankerSettings, settings, changes=asked)
    follow("train reranker", chosen, train_reranker, as_json=as_json)
