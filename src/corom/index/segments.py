"""Segments: passages and vectors that were added together, in memory or as files.

| file | holds |
|---|---|
| `ids-N.npy` | the ids as UTF-8, one fixed width |
| `texts-N.jsonl`, `offsets-N.npy` | a JSON object per passage, and where each begins |
| `vectors-N.npy` | the vectors, `(n, dim)` float32 or float16 |
| `codes-N.npy`, `scales-N.npy` | their int8 or binary copy, where the options ask for one |

Files are memory-mapped: opening reads nothing, and searching only what it needs.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from corom.errors import InputError
from corom.files import atomic_write
from corom.index.spec import IndexSpec
from corom.ranking import require_unique
from corom.records import Passage
from corom.text import clean
from corom.vectors import Vectors

_ARRAYS = ("ids", "vectors", "codes", "scales")
PARTS = ("texts", "offsets", *_ARRAYS)
"""what the files of a segment are named after"""

# Of a length that counts as 1.
_TOLERANCE = 0.01

Floats = NDArray[np.float32] | NDArray[np.float16]


class Segment(NamedTuple):
    """Passages and what is known about them; a row is a position here."""

    ids: NDArray[np.bytes_]
    passages: Sequence[Passage]
    vectors: Floats | None = None
    codes: NDArray[Any] | None = None
    scales: NDArray[np.float32] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that it has, by their names."""
        held = {name: getattr(self, name) for name in _ARRAYS}
        return {name: array for name, array in held.items() if array is not None}

    def part(self, rows: list[int]) -> Segment:
        """Return these rows in memory, in this order."""
        arrays = {name: array[rows] for name, array in self.arrays().items()}
        return Segment(passages=[self.passages[row] for row in rows], **arrays)


def make_segment(
    passages: Sequence[Passage], vectors: Vectors | None, *, spec: IndexSpec
) -> Segment:
    """Return a segment in memory; InputError for ids or vectors that cannot be used."""
    ids = encode_ids([passage.id for passage in passages])
    _check_fields(passages, spec.keep)
    if spec.is_words:
        if vectors is not None:
            raise InputError("this index holds words: give passages without vectors")
        return Segment(ids, passages)
    if vectors is None:
        raise InputError(f"{len(passages)} passages came without vectors; give one for each")
    check_vectors(vectors, dim=spec.dim)
    if spec.is_unit:
        _require_unit(vectors)
    if len(vectors) != len(passages):
        raise InputError(f"{len(passages)} passages came with {len(vectors)} vectors")
    stored = vectors.astype(spec.vector_type, copy=False)
    if not np.isfinite(stored).all():
        raise InputError("a vector does not fit into float16; use vector_type float32")
    return Segment(ids, passages, stored, *quantized(vectors, spec.scan))


def encode_ids(ids: Sequence[str]) -> NDArray[np.bytes_]:
    """Return ids as UTF-8 in one array; InputError for what cannot be written or occurs twice."""
    for id_ in ids:
        if not isinstance(id_, str) or "\0" in id_ or clean(id_) != id_:
            raise InputError(f"id {id_!r} must be text without NUL or lone surrogates")
    require_unique(ids)
    return np.array([id_.encode() for id_ in ids], dtype=np.bytes_)


def _check_fields(passages: Sequence[Passage], keep: Sequence[str]) -> None:
    """Raise InputError for a passage with a field that is not kept, or with no text in it."""
    for passage in passages:
        for name, value in passage.fields.items():
            if name not in keep:
                raise InputError(
                    f"passage {passage.id!r} has a field {name!r}, the index keeps "
                    f"{', '.join(keep) or 'none'}; leave it out, or make an index that keeps it"
                )
            if not isinstance(value, str) or not value or clean(value) != value:
                raise InputError(
                    f"passage {passage.id!r} has a field {name!r} that is not text in UTF-8; "
                    "leave out what has no value"
                )


def check_vectors(vectors: Vectors, *, dim: int) -> None:
    """Raise InputError unless `vectors` is `(n, dim) float32` and finite, norms included."""
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32 or vectors.ndim != 2:
        found = f"{getattr(vectors, 'dtype', type(vectors).__name__)}"
        raise InputError(f"vectors must be an (n, {dim}) float32 array, not {found}")
    if vectors.shape[1] != dim:
        raise InputError(f"vectors have {vectors.shape[1]} numbers, the index has {dim}")
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.einsum("nd,nd->n", vectors, vectors)
    if not np.isfinite(norms).all():
        place = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise InputError(f"vector {place} holds NaN, infinity or numbers too large to multiply")


def _require_unit(vectors: Vectors) -> None:
    """Raise InputError for a vector that is neither of length 1 nor nothing: it would be lost."""
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero((np.abs(lengths - 1) > _TOLERANCE) & (lengths > 0))
    if len(wrong):
        raise InputError(
            f"vector {wrong[0]} has length {lengths[wrong[0]]:.3g}, and the index is of vectors of "
            "length 1 (normalized): normalise them, or make an index that is not"
        )


def quantized(
    vectors: Vectors, precision: str
) -> tuple[NDArray[Any] | None, NDArray[np.float32] | None]:
    """Return codes and scales: int8 numbers, each row by its own scale, or one bit per number."""
    if precision == "int8":
        scales = np.abs(vectors).max(axis=1) / np.float32(127)
        safe = np.where(scales > 0, scales, np.float32(1))
        return np.rint(vectors / safe[:, None]).astype(np.int8), scales
    if precision == "binary":
        return np.packbits(vectors > 0, axis=1), None
    return None, None


class StoredPassages(Sequence[Passage]):
    """The passages of a segment on disk, read one by one as they are asked for."""

    def __init__(self, texts: Path, offsets: NDArray[np.int64]) -> None:
        with texts.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: Any) -> Any:  # noqa: ANN401 - a row only, never a slice
        value = json.loads(self._bytes[self._offsets[row] : self._offsets[row + 1]])
        title, fields = value.get("title", ""), value.get("fields", {})
        return Passage(value["id"], value["text"], title, fields)


def write_segment(folder: Path, number: int, segment: Segment) -> list[str]:
    """Write the files of a segment, fsynced, and return their names; nothing lists them yet."""
    texts = segment_file("texts", number)
    offsets = np.zeros(len(segment.ids) + 1, np.int64)
    with atomic_write(folder / texts) as file:
        for row, line in enumerate(map(_line, segment.passages)):
            file.write(line)
            offsets[row + 1] = offsets[row] + len(line)
    names = [texts]
    for part, array in {"offsets": offsets, **segment.arrays()}.items():
        names.append(segment_file(part, number))
        write_array(folder / names[-1], array)
    return names


def _line(passage: Passage) -> bytes:
    value: dict[str, object] = {
        "id": passage.id,
        "title": clean(passage.title),
        "text": clean(passage.text),
    }
    if not passage.title:
        del value["title"]
    if passage.fields:
        value["fields"] = {**passage.fields}
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def open_segment(folder: Path, number: int) -> Segment:
    """Return the segment of that number; its files must have been checked."""
    paths = {part: folder / segment_file(part, number) for part in PARTS}
    passages = StoredPassages(paths["texts"], read_array(paths["offsets"]))
    arrays = {name: read_array(paths[name]) for name in _ARRAYS if paths[name].is_file()}
    return Segment(passages=passages, **arrays)


def segment_file(part: str, number: int) -> str:
    """Return the name of a numbered file."""
    return f"{part}-{number:06d}.{'jsonl' if part == 'texts' else 'npy'}"


def write_array(path: Path, *arrays: NDArray[Any]) -> None:
    """Write an array, or several one after the other, as one .npy, atomically.

    They are not joined in memory; of several types it is the one that holds all.
    """
    dtype = np.result_type(*arrays)
    header = {
        "descr": npy.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (sum(map(len, arrays)), *arrays[0].shape[1:]),
    }
    with atomic_write(path) as file:
        # Not np.save: on a full disk it does not say so.
        npy.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(np.ascontiguousarray(array, dtype).data)


def read_array(path: Path) -> NDArray[Any]:
    """Return the array in a checked .npy file, memory-mapped."""
    # As a plain array: slices of np.memmap are slow to make.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
