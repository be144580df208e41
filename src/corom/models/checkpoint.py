"""A model folder that was read: what the engines and the encoder work from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corom.errors import ArtifactError
from corom.files import MANIFEST, check_manifest, read_json, sha256
from corom.models.config import Encoding, Shape
from corom.models.layouts import read_encoding, read_shape
from corom.models.tokenizer import read_tokenizer
from corom.models.weights import (
    INT8,
    PICKLED,
    SHARDED,
    Weights,
    canonical,
    read_metadata,
    read_safetensors,
    weight_files,
)

SOURCE_KEY = "source_sha256"
"""Metadata key of an int8 file: the identity of the weights it was made from."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A BERT text encoder in a folder; its weights are read on demand.

    `fingerprint` (16 hexadecimal digits) changes with anything that changes a vector: weights,
    shape, encoding or tokenizer. `tokenizer_json` is the text of a tokenizer.json.
    """

    folder: Path
    name: str
    shape: Shape
    encoding: Encoding
    tokenizer_json: str
    fingerprint: str

    @property
    def int8_file(self) -> Path | None:
        """The int8 form of the weights in the folder, if there is one."""
        path = self.folder / INT8
        return path if path.is_file() else None

    def load_weights(self) -> Weights:
        """Return the weights as float32 by canonical name (about 2 s per GB, manifest checked).

        Raises ArtifactError naming the file or the tensor that is corrupt, missing, misshapen
        or not finite.
        """
        files = weight_files(self.folder)
        if not files:
            from corom.models import int8

            _check_hashes(self.folder, {INT8})
            return int8.load_weights(self.folder)
        _check_hashes(self.folder, {path.name for path in files})
        return canonical(read_safetensors(files), shape=self.shape, source=self.folder)


def load_checkpoint(folder: Path, *, name: str | None = None) -> Checkpoint:
    """Return the checkpoint in `folder`, in any layout docs/model-folders.md lists.

    No weights are read, but without a manifest.json they are hashed (about 1 s per GB). With one,
    all sizes and the content of everything but weights are checked. `name` defaults to the
    folder's. Raises ArtifactError naming the file and the value that cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a model folder: it does not exist or is a file")
    if recorded := _recorded(folder):
        check_manifest(folder, deep=False)
        _check_hashes(folder, {name for name in recorded if name.endswith((".json", ".txt"))})
    shape = read_shape(folder)
    encoding = read_encoding(folder, positions=shape.positions)
    tokenizer_json = read_tokenizer(folder, shape=shape, encoding=encoding)
    identity = {
        "weights": weights_identity(folder),
        "shape": asdict(shape),
        "encoding": asdict(encoding),
        "tokenizer": tokenizer_json,
    }
    return Checkpoint(
        folder=folder,
        name=name or folder.resolve().name,
        shape=shape,
        encoding=encoding,
        tokenizer_json=tokenizer_json,
        fingerprint=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
    )


def _recorded(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    return dict(read_json(path)["files"]) if path.is_file() else {}


def _check_hashes(folder: Path, names: set[str]) -> None:
    if (folder / MANIFEST).is_file():
        check_manifest(folder, names=names)


def weights_identity(folder: Path) -> str:
    """Return the SHA-256 that stands for the weights in `folder`.

    That of model.safetensors (of all shards' together); of an int8 form alone, the identity of
    the weights it was made from, so that both forms have one fingerprint.
    """
    files = weight_files(folder)
    if not files and (folder / INT8).is_file():
        if source := read_metadata(folder / INT8).get(SOURCE_KEY):
            return source
        files = [folder / INT8]
    if not files and (folder / PICKLED).is_file():
        raise ArtifactError(
            f"{folder} has its weights in {PICKLED} only, which corom does not open by itself; "
            f"make a safe copy once with: corom convert {folder} NEW_FOLDER"
        )
    if not files:
        raise ArtifactError(f"{folder} holds no model.safetensors, {SHARDED} or {INT8}")
    recorded = _recorded(folder)
    digests = [recorded.get(path.name, {}).get("sha256") or sha256(path) for path in files]
    together = hashlib.sha256("".join(digests).encode()).hexdigest()
    return str(digests[0]) if len(digests) == 1 else together
