"""`corom encode`: texts to a file of vectors, or to a folder of shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corom.cli import flags
from corom.cli.console import STDIN
from corom.cli.encode_file import Side, encode_file
from corom.cli.encode_shards import encode_folder
from corom.cli.loading import load_encoder
from corom.cli.texts import Texts
from corom.errors import InputError


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A .jsonl, .csv, .xlsx, .tsv or .txt file (plain, .gz, .xz, .zst), the folder of "
            "a data set, or - for standard input, a text a line. For a folder of shards also "
            ".parquet, but no .csv or .xlsx, a pattern in quotes, a folder of files, or an "
            "fsspec URL.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="FILE.npy (beside it FILE.ids.txt), FILE.jsonl, or a folder of shards.",
        ),
    ],
    side: Annotated[
        Side, typer.Option("--as", help="Some models put other words before queries.")
    ] = "passage",
    text: flags.Text = None,
    id_: flags.Id = None,
    title: flags.Title = None,
    encoding: flags.Encoding = "utf-8",
    no_header: flags.NoHeader = False,
    skip_bad: flags.SkipBad = False,
    normalize: flags.Normalize = None,
    dim: flags.Dim = None,
    model: flags.Model = "corom-medical",
    engine: flags.Engine = "auto",
    precision: flags.Precision = "auto",
    device: flags.Device = "auto",
    max_length: flags.Length = None,
    threads: flags.Threads = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Shards: processes side by side; default: one a core."),
    ] = None,
    shard_rows: Annotated[
        int | None, typer.Option("--shard-rows", help="Shards: texts in each; default: 16384.")
    ] = None,
    container: Annotated[
        Literal["npy", "parquet"] | None,
        typer.Option("--container", help="Shards: npy with ids in jsonl (default), or parquet."),
    ] = None,
    store: Annotated[
        Literal["float32", "float16", "int8"] | None,
        typer.Option("--store", help="Shards: how vectors are kept; default: float32."),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Shards: on a Ray cluster that shares the folder.")
    ] = False,
    as_json: flags.Json = False,
) -> None:
    """Turn texts into vectors.

    A file appears when it is whole, or not at all. A folder is filled shard by shard by several
    processes; killed, the same command goes on where it stopped.
    """
    from corom.readers import Layout

    layout = Layout(text=text, id=id_, title=title, encoding=encoding, header=not no_header)
    texts = Texts(source, layout, skip_bad=skip_bad)
    shards = {"rows": shard_rows, "container": container, "vector_type": store}
    given = {name: value for name, value in shards.items() if value is not None}
    one_file = _is_one_file(source, out, for_shards=bool(given or ray) or workers is not None)
    if not one_file:
        texts.refuse(f"{out} is to be a folder of shards, not a .npy or .jsonl")
    total = texts.count() if one_file else None
    encoder = load_encoder(
        model,
        engine=engine,
        precision=precision,
        device=device,
        max_length=max_length,
        threads=threads,
    )
    how: dict[str, Any] = {"side": side, "normalize": normalize, "truncate_dim": dim}
    if one_file:
        encode_file(source, out, encoder, texts=texts, total=total, as_json=as_json, **how)
        return
    how |= {"device": device, "workers": workers, "ray": ray, "model": model, **given}
    encode_folder(source, out, encoder, threads=threads or 1, as_json=as_json, **how)


def _is_one_file(source: str, out: Path, *, for_shards: bool) -> bool:
    """Whether `out` is a file and not a folder of shards; InputError for what fits neither."""
    if out.suffix not in (".npy", ".jsonl", ""):
        raise InputError(
            f"{out} does not say what to write; name it .npy or .jsonl, or, for shards, a folder"
        )
    if out.suffix and for_shards:
        raise InputError(f"{out} is one file: --workers and the like are for a folder of shards")
    if not out.suffix and source == STDIN:
        raise InputError("shards are made of files, so that the work can go on; not of -")
    return bool(out.suffix)
