"""Vectors that outlive the process: what was encoded before a kill is not encoded again.

A folder per model and options, in it one `.npy` per 8,192 texts, written whole or not at all. Its
name is two checksums: of the texts, so that a file is found by what it was made from, whatever
data set or split that is; and of its own bytes, so that a changed file is noticed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.files import sha256, write_bytes, write_json
from corom.vectors import Vectors

SHARD = 8192
"""Texts per file: enough to be batched well, few enough that a kill loses seconds."""

Describing: TypeAlias = Mapping[str, str | int | float | bool]
_DIGITS = 24


class KeptArrays:
    """Arrays of one model with one set of options, in a folder below `root`.

    The name of each file is whatever it is found by, and a checksum of its bytes.
    """

    def __init__(self, root: Path, options: Describing) -> None:
        text = json.dumps(options, sort_keys=True)
        self.folder = Path(root) / _digest(text.encode())
        self._options = options

    def find(self, known_by: str) -> list[Path]:
        """Return the files whose names begin so, sorted."""
        return sorted(self.folder.glob(f"{known_by}-*.npy"))

    def write(self, known_by: str, array: NDArray[Any]) -> Path:
        """Keep an array, whole or not at all."""
        if not (self.folder / "options.json").is_file():
            write_json(self.folder / "options.json", self._options)
        data = io.BytesIO()
        np.save(data, array, allow_pickle=False)
        path = self.folder / f"{known_by}-{_digest(data.getvalue())}.npy"
        write_bytes(path, data.getvalue())
        return path

    def read(self, path: Path) -> NDArray[Any]:
        """Map an array from disk, checked (about 1 s per GB); ArtifactError if it was changed."""
        if sha256(path)[:_DIGITS] != path.stem.rpartition("-")[2]:
            raise ArtifactError(f"{path} was changed after it was written; remove it and try again")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


def kept_vectors(
    kept: KeptArrays, texts: Iterable[str], encode: Callable[[list[str]], Vectors]
) -> Iterator[Vectors]:
    """Yield the vectors of `texts` in order, in parts mapped from disk, as `encode` gives them.

    A part that is there is taken (about 1 s per GB), another encoded and kept. Raises
    ArtifactError for a file that was changed.
    """
    iterator = iter(texts)
    while part := list(islice(iterator, SHARD)):
        source = _digest(json.dumps(part, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        found = kept.find(source)
        yield kept.read(found[0] if found else kept.write(source, encode(part)))


def _digest(data: bytes) -> str:
    """Return the checksum that names files here."""
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
