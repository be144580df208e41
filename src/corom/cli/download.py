"""`corom download`: a model from a hub."""

from __future__ import annotations

from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.console import note, say, say_json
from corom.cli.progress import download_bar


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="damo/… or iic/… (ModelScope), owner/name (Hugging Face)."
        ),
    ],
    revision: Annotated[
        str | None, typer.Option("--revision", help="A tag, branch or commit; default: the newest.")
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Fetch a model from a hub.

    Into the hub's own cache, checked and resumed; its folder is printed (extra hub).
    """
    from corom.models.names import resolve
    from corom.models.weights import PICKLED, holds_safetensors

    with download_bar() as show:
        folder = resolve(name, revision=revision, progress=lambda at: show(*at))
    if not holds_safetensors(folder):
        note(f"its weights are a {PICKLED}; make them safe to open with: corom convert {name}")
    if as_json:
        say_json({"folder": folder})
    else:
        say(str(folder))
