"""The Dense of a sentence-transformers folder: a linear layer between pooling and normalisation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corom.errors import ArtifactError
from corom.files import read_object, write_json
from corom.models.modules import module_paths, read_modules
from corom.models.weights import PICKLED, SINGLE, Weights, pickled_only, read_safetensors
from corom.vectors import Vectors

_TANH, _IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"
# What else a config.json may say, and the one value that is read.
_OPTIONS: dict[str, Any] = {
    "module_input_name": "sentence_embedding",
    "module_output_name": "sentence_embedding",
    "use_residual": False,
}


class Dense(NamedTuple):
    """`weight @ vector + bias`, through tanh or as it is."""

    tensors: Weights
    """`linear.weight` (dim, hidden) and perhaps `linear.bias` (dim,), as in the file"""
    tanh: bool

    @property
    def dim(self) -> int:
        """How many numbers come out."""
        return len(self.tensors["linear.weight"])

    @property
    def form(self) -> tuple[object, ...]:
        """What two have in common that differ in numbers alone."""
        return self.tanh, {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def identity(self) -> str:
        """The SHA-256 of what it computes."""
        digest = hashlib.sha256(str(self.tanh).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tensor.shape}".encode() + tensor.tobytes())
        return digest.hexdigest()

    def applied(self, vectors: Vectors) -> Vectors:
        """Return what becomes of pooled vectors, (n, dim) of (n, hidden).

        About 0.2 ms a vector from 1,024 to 1,792 numbers.
        """
        # No matrix product: in it, equal vectors may become unlike in the last bits.
        products = np.vecdot(self.tensors["linear.weight"][:, None], vectors)
        found: Vectors = np.ascontiguousarray(products.T)
        if (bias := self.tensors.get("linear.bias")) is not None:
            found += bias
        return np.tanh(found) if self.tanh else found

    def write_config(self, path: Path) -> None:
        """Write the config.json that sentence-transformers of any version reads."""
        dim, hidden = self.tensors["linear.weight"].shape
        write_json(
            path,
            {
                "in_features": hidden,
                "out_features": dim,
                "bias": "linear.bias" in self.tensors,
                "activation_function": _TANH if self.tanh else _IDENTITY,
            },
        )


def dense_folder(folder: Path) -> Path | None:
    """Return where the Dense of a model folder lies; None if it has none."""
    path = folder / "modules.json"
    if not path.is_file() or "Dense" not in dict(module_paths(path)):
        return None
    return folder / read_modules(path)["Dense"]


def read_dense(folder: Path, *, hidden: int) -> Dense | None:
    """Return the Dense in a model folder; None if it has none.

    Raises ArtifactError for one that is a pickle, and as `dense_of`.
    """
    if (at := dense_folder(folder)) is None:
        return None
    if not (at / SINGLE).is_file() and (at / PICKLED).is_file():
        raise pickled_only(at, model=folder)
    tensors = read_safetensors([at / SINGLE], wanted=lambda _: True)
    return dense_of(tensors, at=at, hidden=hidden)


def dense_of(tensors: Weights, *, at: Path, hidden: int) -> Dense:
    """Return a Dense of its tensors and the config.json in its folder `at`.

    Raises ArtifactError naming what is not read, or what does not fit the config.json or the
    encoder.
    """
    path = at / "config.json"
    config = read_object(path)
    for key, only in _OPTIONS.items():
        if (found := config.get(key)) not in (None, only):
            raise ArtifactError(f"{path}: {key} {found!r} is not supported, only {only!r}")
    activation = config.get("activation_function", _TANH)
    if activation not in (_TANH, _IDENTITY):
        raise ArtifactError(
            f"{path}: activation_function {activation!r} is not supported, only Tanh and Identity"
        )
    shapes: dict[str, tuple[Any, ...]] = {"linear.weight": (config.get("out_features"), hidden)}
    if config.get("bias", True):
        shapes["linear.bias"] = shapes["linear.weight"][:1]
    if config.get("in_features") != hidden or {n: t.shape for n, t in tensors.items()} != shapes:
        has = ", ".join(f"{name} {tensor.shape}" for name, tensor in sorted(tensors.items()))
        asked = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ArtifactError(
            f"{at} holds {has or 'no tensors'}; its config.json, behind an encoder of {hidden} "
            f"numbers, asks for {asked}"
        )
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ArtifactError(f"{at} holds NaN or infinite values")
    return Dense(tensors, activation == _TANH)
