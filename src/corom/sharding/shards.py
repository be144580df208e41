"""One shard on disk, whole or absent: vectors, ids, and a receipt with their checksums, last.

| file | holds |
|---|---|
| `vectors-N.npy`, `ids-N.jsonl` | `(n, dim)` float32, float16 or int8; an id a line, as JSON |
| `scales-N.npy` | int8 only: `(n,)` float32; a vector is its row of int8 times its scale |
| `shard-N.parquet` | the same as columns `id`, `vector`, `scale` |
| `receipt-N.json` | while the folder is unfinished: what was written, size and SHA-256 |
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError, InputError
from corom.extras import need
from corom.files import file_entry, read_json, write_bytes, write_json
from corom.index.segments import check_vectors, quantized
from corom.sharding.plan import ShardTask
from corom.sharding.spec import ShardSpec
from corom.vectors import Vectors


class Receipt(NamedTuple):
    """That a shard is on disk."""

    number: int
    digest: str
    """of the passages it was made from"""
    rows: int
    truncated: int
    tokens: int
    files: Mapping[str, Mapping[str, Any]]
    """name -> {"bytes", "sha256"}"""


def write_shard(
    folder: Path,
    task: ShardTask,
    ids: Sequence[str],
    vectors: Vectors,
    *,
    spec: ShardSpec,
    truncated: int,
    tokens: int,
) -> Receipt:
    """Write a shard's files and, when they are safe on disk, its receipt."""
    check_vectors(vectors, dim=spec.dim)
    stored, scales = _stored(vectors, spec)
    writer = _parquet_files if spec.container == "parquet" else _npy_files
    files = writer(task.number, ids, stored, scales)
    for name, data in files.items():
        write_bytes(folder / name, data)
    receipt = Receipt(
        number=task.number,
        digest=task.digest,
        rows=len(ids),
        truncated=truncated,
        tokens=tokens,
        files={name: file_entry(folder / name) for name in files},
    )
    write_json(_receipt_file(folder, task), receipt._asdict())
    return receipt


def read_shard(folder: Path, names: Sequence[str], *, dim: int) -> tuple[list[str], Vectors]:
    """Return the ids and vectors of a shard, as `(n, dim) float32`."""
    if names[0].endswith(".parquet"):
        return _read_parquet(folder / names[0], dim=dim)
    by_role = {name.partition("-")[0]: folder / name for name in names}
    text = by_role["ids"].read_text(encoding="utf-8")
    ids = [json.loads(line) for line in text.split("\n")[:-1]]
    stored = np.load(by_role["vectors"], mmap_mode="r", allow_pickle=False)
    scales = np.load(by_role["scales"], allow_pickle=False) if "scales" in by_role else None
    return ids, _restored(stored, scales)


def _receipt_file(folder: Path, task: ShardTask) -> Path:
    return folder / f"receipt-{task.number:06d}.json"


def read_receipt(folder: Path, task: ShardTask) -> Receipt | None:
    """Return the receipt of a shard that is whole on disk; None when it must be encoded.

    Every file is read to compare its checksum (about 1 s per GB): a damaged shard is encoded again.
    """
    try:
        receipt = Receipt(**read_json(_receipt_file(folder, task)))
        whole = all(file_entry(folder / name) == entry for name, entry in receipt.files.items())
    except (ArtifactError, TypeError, AttributeError, FileNotFoundError):
        return None
    return receipt if whole and receipt.digest == task.digest else None


def _stored(vectors: Vectors, spec: ShardSpec) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    if spec.vector_type == "int8":
        codes, scales = quantized(vectors, "int8")
        return np.asarray(codes), scales
    with np.errstate(over="ignore"):
        stored = vectors.astype(spec.vector_type, copy=False)
    if not np.isfinite(stored).all():
        raise InputError("a vector does not fit into float16; use float32")
    return stored, None


def _restored(stored: NDArray[Any], scales: NDArray[np.float32] | None) -> Vectors:
    vectors: Vectors = np.ascontiguousarray(stored, dtype=np.float32)
    return vectors if scales is None else vectors * scales[:, None]


def _npy_files(
    number: int, ids: Sequence[str], stored: NDArray[Any], scales: NDArray[np.float32] | None
) -> dict[str, bytes]:
    lines = "".join(f"{json.dumps(id_, ensure_ascii=False)}\n" for id_ in ids)
    files = {
        f"ids-{number:06d}.jsonl": lines.encode("utf-8"),
        f"vectors-{number:06d}.npy": _npy(stored),
    }
    if scales is not None:
        files[f"scales-{number:06d}.npy"] = _npy(scales)
    return files


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _parquet_files(
    number: int, ids: Sequence[str], stored: NDArray[Any], scales: NDArray[np.float32] | None
) -> dict[str, bytes]:
    pa = need("pyarrow", extra="parquet")
    parquet = need("pyarrow.parquet", extra="parquet")
    numbers = pa.array(np.ascontiguousarray(stored).reshape(-1))
    columns = {
        "id": pa.array(list(ids), pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(numbers, stored.shape[1]),
    }
    if scales is not None:
        columns["scale"] = pa.array(scales)
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer, compression="none", use_dictionary=False)
    return {f"shard-{number:06d}.parquet": buffer.getvalue()}


def _read_parquet(path: Path, *, dim: int) -> tuple[list[str], Vectors]:
    table = need("pyarrow.parquet", extra="parquet").read_table(path)
    flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    scales = None
    if "scale" in table.column_names:
        scales = table["scale"].to_numpy().astype(np.float32, copy=False)
    return table["id"].to_pylist(), _restored(flat.reshape(-1, dim), scales)
