"""A model folder that was read: what the engines and the encoder work from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from dataclasses import asdict, dataclass, field
from pathlib import Path

from corom.errors import ArtifactError
from corom.files import check_manifest, manifest_entries, sha256
from corom.models.config import Encoding, Shape
from corom.models.dense import Dense, read_dense
from corom.models.int8 import Fidelity, Int8Weights, read_fidelity, read_int8, restored_weights
from corom.models.layouts import SILENT, Stated, is_classifier, read_encoding, read_shape
from corom.models.tokenizer import read_tokenizer
from corom.models.weights import (
    INT8,
    PICKLED,
    SHARDED,
    SOURCE_KEY,
    Weights,
    canonical,
    canonical_name,
    pickled_only,
    read_metadata,
    read_safetensors,
    weight_files,
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A BERT text encoder in a folder; its weights are read on demand.

    `fingerprint` (16 hexadecimal digits) changes with anything that changes a vector: weights,
    shape, encoding, tokenizer or Dense. `tokenizer_json` is the text of a tokenizer.json.
    """

    folder: Path
    name: str
    shape: Shape
    encoding: Encoding
    tokenizer_json: str
    fingerprint: str
    dense: Dense | None = field(default=None, compare=False)
    """what stands between pooling and normalisation, if anything does"""

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        return self.dense.dim if self.dense else self.shape.hidden

    def describe(self) -> str:
        """Return its sizes in words."""
        layers = f"{self.shape.layers} layers of {self.shape.hidden}"
        return f"{layers}, a Dense to {self.dense.dim}" if self.dense else layers

    @property
    def int8_file(self) -> Path | None:
        """The int8 form of the weights in the folder, if there is one."""
        path = self.folder / INT8
        return path if path.is_file() else None

    @property
    def fidelity(self) -> Fidelity | None:
        """How well that form keeps what fp32 says, if it was measured; no tensors are read."""
        return None if self.int8_file is None else read_fidelity(self.int8_file)

    @property
    def is_classifier(self) -> bool:
        """Whether a head on top gives labels or scores: a reranker, no encoder."""
        return is_classifier(self.folder)

    @property
    def second_type(self) -> int:
        """What to add to token ids of the second type: see `token_types.TwinCheckpoint`."""
        return 0

    def require_encoder(self) -> None:
        """Raise ArtifactError if this is a reranker or another classifier."""
        if self.is_classifier:
            raise ArtifactError(
                f"{self.name} is a reranker or another classifier, no encoder: its vectors mean "
                "nothing; load a reranker with corom.Reranker or --rerank"
            )

    def load_weights(self) -> Weights:
        """Return the weights as float32 by canonical name (about 2 s per GB, manifest checked).

        Raises ArtifactError naming the file or the tensor that is corrupt, missing, misshapen
        or not finite.
        """
        files = weight_files(self.folder)
        if not files:
            return restored_weights(self.read_int8())
        self._check(*files)
        return canonical(read_safetensors(files), shape=self.shape, source=self.folder)

    def read_tensors(self, names: Container[str]) -> Weights:
        """Return tensors beside or of the encoder by canonical name, manifest checked.

        A name that is not there is left out.
        """
        files = weight_files(self.folder)
        self._check(*files)
        found = read_safetensors(files, wanted=names.__contains__)
        return {canonical_name(name): tensor for name, tensor in found.items()}

    def read_int8(self) -> Int8Weights:
        """Return the int8 form in the folder, manifest checked; ArtifactError if there is none."""
        if self.int8_file is None:
            raise ArtifactError(f"{self.folder} holds no {INT8}")
        self._check(self.int8_file)
        found = read_int8(self.int8_file, shape=self.shape)
        made_from = found.source_sha256
        if made_from and weight_files(self.folder) and made_from != weights_identity(self.folder):
            raise ArtifactError(
                f"{self.int8_file} was made from other weights than those beside it; remove it, or "
                "make a folder anew with corom convert --precision int8"
            )
        return found

    def _check(self, *files: Path) -> None:
        names = {path.name for path in files}
        check_manifest(self.folder, names=names, missing_ok=True)


def load_checkpoint(
    folder: Path, *, name: str | None = None, stated: Stated = SILENT, dense: Dense | None = None
) -> Checkpoint:
    """Return the checkpoint in `folder`, in any layout docs/model-folders.md lists.

    No weights are read but a Dense's; without a manifest.json they are hashed (about 1 s per GB).
    With one, all sizes and the content of everything but weights are checked. `name` defaults to
    the folder's. What `stated` says counts more than the files; `dense` is for a folder whose own
    is a pickle. Raises ArtifactError naming the file and the value that cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a model folder: it does not exist or is a file")
    if recorded := manifest_entries(folder, missing_ok=True):
        check_manifest(folder, deep=False)
        small = {name for name in recorded if name.endswith((".json", ".txt")) or "/" in name}
        check_manifest(folder, names=small)
    shape = read_shape(folder)
    encoding = read_encoding(folder, positions=shape.positions, stated=stated)
    tokenizer_json = read_tokenizer(folder, shape=shape, encoding=encoding)
    dense = dense or read_dense(folder, hidden=shape.hidden)
    identity = {
        "weights": weights_identity(folder),
        "shape": asdict(shape),
        "encoding": asdict(encoding),
        "tokenizer": tokenizer_json,
        **({"dense": dense.identity} if dense else {}),
    }
    return Checkpoint(
        folder=folder,
        name=name or folder.resolve().name,
        shape=shape,
        encoding=encoding,
        tokenizer_json=tokenizer_json,
        fingerprint=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
        dense=dense,
    )


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
        raise pickled_only(folder, model=folder)
    if not files:
        raise ArtifactError(f"{folder} holds no model.safetensors, {SHARDED} or {INT8}")
    recorded = manifest_entries(folder, missing_ok=True)
    digests = [
        recorded[path.name]["sha256"] if path.name in recorded else sha256(path) for path in files
    ]
    together = hashlib.sha256("".join(digests).encode()).hexdigest()
    return digests[0] if len(digests) == 1 else together
