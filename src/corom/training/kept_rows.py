"""Rows of texts that outlive the process, found by text: no run computes what another did.

A folder per encoder and options, in it pairs of files: `….npy` with the rows of some texts, one
text's after the other's, and `….texts.npy` that says whose they are. Each name has a checksum of
its own bytes, so a changed file is noticed; texts are known by a checksum, too.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.evaluation.kept import Describing
from corom.files import sha256, write_bytes, write_json

Rows: TypeAlias = NDArray[np.float16]
"""(n, hidden): float16 keeps three digits, and int8 bodies give two."""

_DIGITS = 24
_TEXTS = ".texts.npy"


class _Place(NamedTuple):
    """Where a text's rows lie."""

    part: int
    start: int
    stop: int


class KeptRows:
    """The rows of one encoder with one set of options, in a folder below `root`."""

    def __init__(self, root: Path, options: Describing) -> None:
        text = json.dumps(options, sort_keys=True)
        self.folder = Path(root) / hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
        self._options = options
        self._files: list[Path] = []
        self._parts: dict[int, Rows] = {}
        self._places: dict[bytes, _Place] = {}
        for path in sorted(self.folder.glob(f"*{_TEXTS}")):
            self._enter(_checked(path))

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._places

    def __getitem__(self, text: str) -> Rows:
        """Return a text's rows, mapped from disk; a file is checked once, at about 1 GB a second.

        Raises KeyError for a text that was not kept, ArtifactError for a file that was changed.
        """
        number, start, stop = self._places[_key(text)]
        if number not in self._parts:
            path = _checked(self._files[number])
            # A plain array: a view of it takes less memory than one of a memmap.
            self._parts[number] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        return self._parts[number][start:stop]

    def add(self, texts: Sequence[str], lengths: NDArray[np.int64], rows: Rows) -> None:
        """Keep the rows of texts, so many of each; the file that names the texts comes last."""
        if not (self.folder / "options.json").is_file():
            write_json(self.folder / "options.json", self._options)
        keys = np.frombuffer(b"".join(map(_key, texts)), np.uint64).reshape(-1, 2)
        table = np.column_stack([keys, lengths.astype(np.uint64)])
        name = self._write(rows, "", "npy").stem
        self._enter(self._write(table, f"{name}.", "texts.npy"))

    def _write(self, array: NDArray[np.float16] | NDArray[np.uint64], stem: str, end: str) -> Path:
        data = io.BytesIO()
        np.save(data, array, allow_pickle=False)
        digest = hashlib.sha256(data.getvalue()).hexdigest()[:_DIGITS]
        path = self.folder / f"{stem}{digest}.{end}"
        write_bytes(path, data.getvalue())
        return path

    def _enter(self, path: Path) -> None:
        """Note the texts of a part."""
        table = np.load(path, allow_pickle=False)
        stops = np.cumsum(table[:, 2].astype(np.int64)).tolist()
        starts = [0, *stops[:-1]]
        keys = [row.tobytes() for row in np.ascontiguousarray(table[:, :2])]
        number = len(self._files)
        spans = zip(keys, starts, stops, strict=True)
        self._places.update((key, _Place(number, start, stop)) for key, start, stop in spans)
        self._files.append(path.with_name(f"{path.name.split('.')[0]}.npy"))


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _checked(path: Path) -> Path:
    """Return a file whose bytes are those its name tells of."""
    names = path.name.removesuffix(_TEXTS).removesuffix(".npy").split(".")
    wrong = "is missing" if not path.is_file() else ""
    if not wrong and sha256(path)[:_DIGITS] != names[-1]:
        wrong = "was changed after it was written"
    if wrong:
        raise ArtifactError(f"{path} {wrong}; remove {names[0]}.* there and try again")
    return path
