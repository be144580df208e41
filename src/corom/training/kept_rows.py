"""Rows of texts that outlive the process, found by text: no run computes what another did.

Beside each file with the rows of some texts, one text's after the other's, there is one that says
whose they are. Texts are known by a checksum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.evaluation.kept import Describing, KeptArrays

Rows: TypeAlias = NDArray[np.float16]
"""(n, hidden): float16 keeps three digits, and int8 bodies give two."""

_TEXTS = "texts-"


class _Place(NamedTuple):
    """Where a text's rows lie."""

    part: int
    start: int
    stop: int


class KeptRows:
    """The rows of one encoder with one set of options, in a folder below `root`."""

    def __init__(self, root: Path, options: Describing) -> None:
        self._arrays = KeptArrays(root, options)
        self._files: list[Path] = []
        self._parts: dict[int, Rows] = {}
        self._places: dict[bytes, _Place] = {}
        for path in self._arrays.find(f"{_TEXTS}*"):
            self._enter(path)

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._places

    def __getitem__(self, text: str) -> Rows:
        """Return a text's rows, mapped from disk; a file is checked once, at about 1 GB a second.

        Raises KeyError for a text that was not kept, ArtifactError for a file that was changed.
        """
        number, start, stop = self._places[_key(text)]
        if number not in self._parts:
            # A plain array: a view of it takes less memory than one of a memmap.
            self._parts[number] = np.asarray(self._arrays.read(self._files[number]))
        return self._parts[number][start:stop]

    def add(self, texts: Sequence[str], lengths: NDArray[np.int64], rows: Rows) -> None:
        """Keep the rows of texts, so many of each; the file that names the texts comes last."""
        keys = np.frombuffer(b"".join(map(_key, texts)), np.uint64).reshape(-1, 2)
        table = np.column_stack([keys, lengths.astype(np.uint64)])
        name = self._arrays.write("rows", rows).stem
        self._enter(self._arrays.write(f"{_TEXTS}{name}", table))

    def _enter(self, path: Path) -> None:
        """Note whose the rows of a file are."""
        name = path.stem.removeprefix(_TEXTS).rpartition("-")[0]
        rows = path.with_name(f"{name}.npy")
        if not rows.is_file():
            raise ArtifactError(f"{rows} is missing; remove {path.name} beside it and try again")
        table = self._arrays.read(path)
        stops = np.cumsum(table[:, 2].astype(np.int64)).tolist()
        keys = [row.tobytes() for row in table[:, :2]]
        number = len(self._files)
        for key, start, stop in zip(keys, [0, *stops[:-1]], stops, strict=True):
            self._places[key] = _Place(number, start, stop)
        self._files.append(rows)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
