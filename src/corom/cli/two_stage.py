"""`corom train two-stage`: train, mine, train again, measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.console import say, say_json
from corom.cli.runs import changes, run_bars


def command(
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
    from corom.training.loop import part
    from corom.training.recipe import EVALUATED, load_recipe, steps_of

    asked = load_recipe(recipe, changes=changes(set_, model=model, output=output))
    dev = steps_of(asked).stage1.dev
    with run_bars(dev.measure if dev else "dev") as show:
        finished = two_stage(asked, progress=show)
    table = Path(asked.output) / EVALUATED / "README.md"
    if is_main_process() and as_json:
        say_json({"model": str(finished), "report": str(table) if asked.evaluate else None})
    elif is_main_process():
        say((table.read_text(encoding="utf-8") if asked.evaluate else "") + str(finished))
    part()
