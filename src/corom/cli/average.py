"""`corom average`: the mean of models' weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.console import say, say_json
from corom.errors import InputError


def command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Model folders or names, all of one shape and tokenizer."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new model folder.")],
    shares: Annotated[
        str | None,
        typer.Option(
            "--shares", help="The weight of each model, as in 0.65,0.35; default: all alike."
        ),
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Average the weights of models ("model soup").

    Of those that were trained from the same one. A trained model and the one it started from: what
    was learned with less of what was forgotten. The first one's pooling and length are kept.
    """
    from corom.models.checkpoint import load_checkpoint
    from corom.models.names import resolve
    from corom.training.averaging import average

    average([resolve(name) for name in models], out, shares=_numbers(shares))
    made = load_checkpoint(out)
    if as_json:
        say_json({"folder": made.folder, "fingerprint": made.fingerprint})
    else:
        say(str(made.folder))


def _numbers(shares: str | None) -> list[float] | None:
    """Return the numbers of `0.65,0.35`."""
    try:
        return None if shares is None else [float(share) for share in shares.split(",")]
    except ValueError:
        raise InputError(
            f"--shares {shares!r} is no list of numbers; expected for example 0.65,0.35"
        ) from None
