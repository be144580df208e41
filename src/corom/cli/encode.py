"""`corom encode`: texts to a file of vectors."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from corom.cli.console import (
    STDIN,
    DeviceOption,
    EngineOption,
    JsonOption,
    LengthOption,
    ModelOption,
    PrecisionOption,
    ThreadsOption,
    count_passages,
    load_encoder,
    note,
    progress_bar,
    read_passages,
    say,
    say_json,
)
from corom.cli.encode_shards import encode_folder
from corom.errors import InputError

if TYPE_CHECKING:
    from corom.vectors import Vectors

Side: TypeAlias = Literal["passage", "query"]


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A .jsonl, .tsv or .txt file (plain, .gz, .xz, .zst), the folder of a data set, "
            "or - for standard input, a text a line. For a folder of shards also .parquet, a "
            "pattern in quotes, a folder of files, or an fsspec URL.",
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
    normalize: Annotated[
        bool | None,
        typer.Option("--normalize/--no-normalize", help="To length 1; default: as the model."),
    ] = None,
    dim: Annotated[
        int | None, typer.Option("--dim", help="Keep the first DIM numbers (Matryoshka models).")
    ] = None,
    model: ModelOption = "corom-medical",
    engine: EngineOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    max_length: LengthOption = None,
    threads: ThreadsOption = None,
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
    as_json: JsonOption = False,
) -> None:
    """Turn texts into vectors.

    A file appears when it is whole, or not at all. A folder is filled shard by shard by several
    processes; killed, the same command goes on where it stopped.
    """
    shards = {"rows": shard_rows, "container": container, "vector_type": store}
    given = {name: value for name, value in shards.items() if value is not None}
    if out.suffix not in (".npy", ".jsonl", ""):
        raise InputError(
            f"{out} does not say what to write; name it .npy or .jsonl, or, for shards, a folder"
        )
    if out.suffix and (given or workers or ray):
        raise InputError(f"{out} is one file: --workers and the like are for a folder of shards")
    if not out.suffix and source == STDIN:
        raise InputError("shards are made of files, so that the work can go on; not of -")
    total = count_passages(source) if out.suffix else None
    encoder = load_encoder(
        model,
        engine=engine,
        precision=precision,
        device=device,
        max_length=max_length,
        threads=threads,
    )
    if not out.suffix:
        encode_folder(
            source,
            out,
            encoder,
            device=device,
            workers=workers,
            ray=ray,
            as_json=as_json,
            model=model,
            normalize=normalize,
            truncate_dim=dim,
            side=side,
            threads=threads or 1,
            **given,
        )
        return
    ids: deque[str] = deque()
    with progress_bar(total) as meter:
        options: dict[str, Any] = {"normalize": normalize, "truncate_dim": dim, "progress": meter}
        texts = _texts(source, ids)
        if side == "query":
            chunks = iter([encoder.encode_queries(texts, **options)])
        else:
            chunks = encoder.stream_passages(texts, **options)
        write = _write_npy if out.suffix == ".npy" else _write_jsonl
        shape = write(out, ids, chunks)
    if as_json:
        model_facts = {"model": encoder.name, "fingerprint": encoder.fingerprint}
        say_json({"out": str(out), "shape": shape, **model_facts, **meter.figures()})
    else:
        note(meter.sentence(max_length=encoder.max_length))
        say(f"{out}: {shape[0]:,} x {shape[1]} float32")


def _texts(source: str, ids: deque[str]) -> Iterator[str]:
    for passage in read_passages(source):
        ids.append(passage.id)
        yield passage.content


def _write_npy(out: Path, ids: deque[str], chunks: Iterator[Vectors]) -> tuple[int, int]:
    import numpy as np

    from corom.files import atomic_write

    rows, dim = 0, 0
    with atomic_write(out.with_suffix(".ids.txt")) as names, atomic_write(out) as file:
        for chunk in chunks:
            if not dim:
                dim = chunk.shape[1]
                _write_header(file, 0, dim)
            file.write(np.ascontiguousarray(chunk).data)
            for _ in chunk:
                names.write(_line(ids.popleft()))
            rows += len(chunk)
        file.seek(0)
        _write_header(file, rows, dim)
    return rows, dim


def _write_header(file: IO[bytes], rows: int, dim: int) -> None:
    from numpy.lib import format as npy

    # numpy leaves room for the first axis to grow, so this can be written again at the end.
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})


def _line(id_: str) -> bytes:
    if "\n" in id_ or "\r" in id_:
        raise InputError(f"id {id_!r} holds a line break; write .jsonl, or change the id")
    return f"{id_}\n".encode()


def _write_jsonl(out: Path, ids: deque[str], chunks: Iterator[Vectors]) -> tuple[int, int]:
    from corom.readers.writing import write_lines

    rows, dim = 0, 0

    def lines() -> Iterator[str]:
        nonlocal rows, dim
        for chunk in chunks:
            rows, dim = rows + len(chunk), chunk.shape[1]
            for vector in chunk:
                # Nine digits give every float32 back.
                numbers = ",".join(f"{number:.9g}" for number in vector.tolist())
                id_ = json.dumps(ids.popleft(), ensure_ascii=False)
                yield f'{{"id": {id_}, "vector": [{numbers}]}}'

    write_lines(out, lines())
    return rows, dim
