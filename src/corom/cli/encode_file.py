"""`corom encode … --out FILE`: texts to one file of vectors."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from corom.cli.console import check_output, note, say, say_json
from corom.cli.progress import progress_bar
from corom.errors import InputError

if TYPE_CHECKING:
    from corom.cli.texts import Texts
    from corom.encoder import Encoder
    from corom.vectors import Vectors

Side: TypeAlias = Literal["passage", "query"]


def encode_file(
    source: str,
    out: Path,
    encoder: Encoder,
    *,
    texts: Texts,
    side: Side,
    total: int | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - those of Encoder.encode_queries
) -> None:
    """Encode `source` into `out`, .npy or .jsonl, and print what it holds."""
    ids: deque[str] = deque()
    for file in (out, _ids_of(out)) if out.suffix == ".npy" else (out,):
        check_output(file, source)
    with progress_bar(total) as meter:
        contents, options = _contents(texts, ids), {**options, "progress": meter}
        if side == "query":
            chunks = iter([encoder.encode_queries(contents, **options)])
        else:
            chunks = encoder.stream_passages(contents, **options)
        write = _write_npy if out.suffix == ".npy" else _write_jsonl
        shape = write(out, ids, chunks)
    if as_json:
        model_facts = {"model": encoder.name, "fingerprint": encoder.fingerprint}
        say_json({"out": out, "shape": shape, **model_facts, **meter.figures()})
    else:
        note(meter.sentence(max_length=encoder.max_length))
        say(f"{out}: {shape[0]:,} x {shape[1]} float32")


def _contents(texts: Texts, ids: deque[str]) -> Iterator[str]:
    for passage in texts.passages():
        ids.append(passage.id)
        yield passage.content


def _write_npy(out: Path, ids: deque[str], chunks: Iterator[Vectors]) -> tuple[int, int]:
    import numpy as np

    from corom.files import atomic_write

    rows, dim = 0, 0
    with atomic_write(out) as file, atomic_write(_ids_of(out)) as names:
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
        # From here on: no old vectors, then new ids, then the vectors. Whatever kills us, vectors
        # that are there have their own ids beside them; a disk that is full says so before.
        for whole in (file, names):
            whole.flush()
            os.fsync(whole.fileno())
        out.resolve().unlink(missing_ok=True)
    return rows, dim


def _ids_of(out: Path) -> Path:
    return out.with_suffix(".ids.txt")


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
