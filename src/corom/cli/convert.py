"""`corom convert`: any model folder to a portable one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from corom.cli import flags
from corom.cli.console import note, say, say_json
from corom.cli.texts import read_passages
from corom.errors import InputError
from corom.models.config import Pooling

_MOST_TEXTS = 1000


def command(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A model folder, or a name as --model takes it.")
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT]",
            help="A new folder. Without it, model.safetensors is written beside the "
            "pytorch_model.bin of SRC, which can then be used by its name.",
        ),
    ] = None,
    precision: Annotated[
        Literal["full", "int8"],
        typer.Option("--precision", help="int8: add the form that is fastest on a CPU."),
    ] = "full",
    dtype: Annotated[
        Literal["float32", "float16"], typer.Option("--dtype", help="How weights are stored.")
    ] = "float32",
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            help="Texts like those the model will meet, 40 or more, for int8 (.jsonl, .tsv, .txt "
            "or -); default: medical texts inside the package.",
        ),
    ] = None,
    pooling: Annotated[
        Pooling | None,
        typer.Option(
            "--pooling",
            help="How tokens become a vector; this and the next four take the place of what SRC "
            "says, or does not say.",
        ),
    ] = None,
    normalize: Annotated[
        bool | None, typer.Option("--normalize/--no-normalize", help="Vectors of length 1.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Tokens that are read of a text, 2 to 512.")
    ] = None,
    query_prefix: Annotated[
        str | None, typer.Option("--query-prefix", help="What is put before every query.")
    ] = None,
    passage_prefix: Annotated[
        str | None, typer.Option("--passage-prefix", help="What is put before every passage.")
    ] = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
) -> None:
    """Make a portable model folder.

    Of safetensors, from any other model folder, pytorch_model.bin included (extra torch).
    """
    from corom.engines.compression import convert_to_int8
    from corom.models.convert import add_safetensors, convert
    from corom.models.layouts import SILENT, Stated
    from corom.models.names import resolve

    stated = Stated(
        pooling=pooling,
        normalize=normalize,
        max_length=max_length,
        query_prefix=query_prefix,
        passage_prefix=passage_prefix,
    )
    if precision != "int8" and calibrate is not None:
        raise InputError("--calibrate belongs to --precision int8")
    if out is None and (precision, dtype, stated) != ("full", "float32", SILENT):
        raise InputError("name the folder OUT: all options but --json need a new one")
    folder = resolve(source)
    if out is None:
        made = add_safetensors(folder)
    elif precision == "int8":
        texts = None if calibrate is None else _sample(calibrate)
        with _shown_on_screen() as show:
            made = convert_to_int8(
                folder,
                out,
                dtype=dtype,
                stated=stated,
                texts=texts,
                threads=threads,
                progress=show,
            )
    else:
        made = convert(folder, out, dtype=dtype, stated=stated)
    fidelity = made.fidelity
    if as_json:
        say_json(
            {
                "folder": made.folder,
                "fingerprint": made.fingerprint,
                "fidelity": None if fidelity is None else vars(fidelity),
            }
        )
        return
    say(f"{made.folder}: {made.describe()}, {made.encoding.describe()}")
    if fidelity is not None:
        note(fidelity.advice())


@contextmanager
def _shown_on_screen() -> Iterator[Callable[[str], None]]:
    """Yield what shows on standard error, if that is a screen, which input was made int8 last."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("int8 …") if console.is_terminal else nullcontext() as status:
        yield lambda name: status.update(f"int8: {name}") if status else None


def _sample(source: str) -> list[str]:
    """Return at most a thousand texts, evenly spread over the file."""
    texts = [passage.content for passage in read_passages(source)]
    taken = min(len(texts), _MOST_TEXTS)
    return [texts[number * len(texts) // taken] for number in range(taken)]
