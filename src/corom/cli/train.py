"""`corom train`, `train two-stage` and `train reranker`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.console import say, say_json
from corom.cli.progress import run_bars
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

    asked = changes(set_, model=model, output=output, data={"train": data} if data else None)
    chosen = load_settings(TrainSettings, settings, changes=asked)
    follow("train", chosen, train, as_json=as_json)


def reranker(
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

    asked = changes(set_, model=model, output=output, data={"train": data} if data else None)
    chosen = load_settings(RerankerSettings, settings, changes=asked)
    follow("train reranker", chosen, train_reranker, as_json=as_json)


def two_stage(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="A .toml file such as recipes/corom-medical.toml."),
    ],
    model: flags.StartFrom = None,
    output: flags.RunFolder = None,
    set_: flags.Changes = None,
    as_json: flags.Json = False,
) -> None:
    """Run every step of a recipe.

    Pre-training, both stages, mining between them, a table. What is done already is not done again,
    so that the same command goes on after a kill. Several GPUs: torchrun --nproc_per_node 4 -m
    corom train two-stage … (extra train).
    """
    from corom.environment import is_main_process
    from corom.training import two_stage
    from corom.training.processes import part
    from corom.training.recipe import EVALUATED, load_recipe, steps_of

    asked = load_recipe(recipe, changes=changes(set_, model=model, output=output))
    dev = steps_of(asked).stage1.dev
    with run_bars(dev.measure if dev else "dev") as show:
        finished = two_stage(asked, progress=show)
    table = Path(asked.output) / EVALUATED / "README.md"
    if is_main_process() and as_json:
        say_json({"model": finished, "report": table if asked.evaluate else None})
    elif is_main_process():
        say((table.read_text(encoding="utf-8") if asked.evaluate else "") + str(finished))
    part()
