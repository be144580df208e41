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
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.files import sha256, write_bytes, write_json

SHARD = 8192
"""Texts per file: enough to be batched well, few enough that a kill loses seconds."""

Describing: TypeAlias = Mapping[str, str | int | float | bool]
_DIGITS = 24
F = TypeVar("F", bound="np.floating[Any]")


class KeptVectors:
    """The vectors of one model with one set of options, in a folder below `root`.

    `shard`: texts per file, where their vectors are larger than usual.
    """

    def __init__(self, root: Path, options: Describing, *, shard: int | None = None) -> None:
        text = json.dumps(options, sort_keys=True)
        self.folder = Path(root) / hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
        self._options, self._shard = options, shard or SHARD

    def parts(
        self, texts: Iterable[str], encode: Callable[[list[str]], NDArray[F]]
    ) -> Iterator[NDArray[F]]:
        """Yield the vectors of `texts` in order, in parts mapped from disk, as `encode` gives them.

        A part that is there is taken (about 1 s per GB), another encoded and kept. Raises
        ArtifactError for a file that was changed.
        """
        iterator = iter(texts)
        while part := list(islice(iterator, self._shard)):
            yield self._part(part, encode)

    def _part(self, texts: list[str], encode: Callable[[list[str]], NDArray[F]]) -> NDArray[F]:
        source = _digest(json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        path = next(iter(sorted(self.folder.glob(f"{source}-*.npy"))), None)
        if path is None:
            path = self._keep(source, encode(texts))
        elif sha256(path)[:_DIGITS] != path.stem.rpartition("-")[2]:
            raise ArtifactError(f"{path} was changed after it was written; remove it and try again")
        vectors: NDArray[F] = np.load(path, mmap_mode="r", allow_pickle=False)
        return vectors

    def _keep(self, source: str, vectors: NDArray[F]) -> Path:
        if not (self.folder / "options.json").is_file():
            write_json(self.folder / "options.json", self._options)
        data = io.BytesIO()
        np.save(data, vectors, allow_pickle=False)
        path = self.folder / f"{source}-{_digest(data.getvalue())}.npy"
        write_bytes(path, data.getvalue())
        return path


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
