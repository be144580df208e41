"""`corom plan`: how much memory, disk and time a corpus takes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from corom.cli import flags
from corom.cli.console import say, say_json


def command(
    passages: Annotated[float, typer.Option("--passages", help="How many; 50e6 is fifty million.")],
    dim: Annotated[int, typer.Option("--dim", help="Numbers per vector.")] = 512,
    precision: Annotated[
        Literal["float32", "float16", "int8", "binary"],
        typer.Option("--precision", help="How vectors are kept and read first."),
    ] = "float32",
    text_bytes: Annotated[
        float | None,
        typer.Option("--text-bytes", help="Mean of a passage in UTF-8; default: as measured."),
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option("--tokens", help="Mean of a passage, cut ones as cut; default: as measured."),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option("--cores", help="That encode and build; default: as many as were measured."),
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Estimate what a corpus takes.

    Memory, disk, hours and queries a second for each way to search it, with the embedded model,
    from figures measured once (docs/capacity.md); machines differ.
    """
    from corom import capacity

    found = capacity.plan(
        passages,
        dim=dim,
        precision=precision,
        text_bytes=text_bytes,
        tokens=tokens,
        cores=cores,
    )
    known = capacity.figures()
    if as_json:
        say_json({**found._asdict(), "layouts": [each._asdict() for each in found.layouts]})
        return
    say(f"{passages:,.0f} passages of {dim} numbers; from figures of {known.date}, {known.machine}")
    say(f"encoding: {_duration(found.encode_hours)} on {cores or known.cores} cores")
    say(f"vectors in shards: {_bytes(found.shard_bytes)}")
    say(f"{'':<16}{'memory':>10}{'disk':>10}{'build':>10}{'queries/s':>11}  cost follows")
    for each in found.layouts:
        say(
            f"{each.layout:<16}{_bytes(each.memory_bytes):>10}{_bytes(each.disk_bytes):>10}"
            f"{_duration(each.build_hours):>10}{each.queries_per_second:>11,.3g}  {each.driver}"
        )


def _duration(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:,.1f} min"


def _bytes(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.1f} MB"
