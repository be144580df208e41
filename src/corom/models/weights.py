"""Weights of a BERT encoder from safetensors files, as float32 arrays under one set of names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.files import read_object
from corom.models.config import Shape

Weights: TypeAlias = dict[str, NDArray[np.float32]]
"""`embeddings.word_embeddings.weight`, `encoder.layer.0.attention.self.query.weight`, …"""

SINGLE, SHARDED, PICKLED = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)
INT8 = "model.int8.safetensors"
SOURCE_KEY = "source_sha256"
"""Metadata key of an int8 file: the identity of the weights it was made from."""

# numpy has no bfloat16: its 16 bits are read raw and become the upper half of a float32.
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def weight_files(folder: Path) -> list[Path]:
    """Return the full-precision safetensors files of `folder`: one, the shards, or none."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / SHARDED).is_file():
        return []
    weight_map = read_object(folder / SHARDED).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or any(type(name) is not str or Path(name).name != name for name in names):
        raise ArtifactError(
            f"{folder / SHARDED}: weight_map must map weights to files beside it; fetch it again"
        )
    files = [folder / name for name in sorted(set(names))]
    if missing := [path for path in files if not path.is_file()]:
        raise ArtifactError(f"{missing[0]} is missing; {SHARDED} lists it")
    return files


def holds_safetensors(folder: Path) -> bool:
    """Return whether there are weights in `folder` that are no pickle, be it in int8 alone."""
    return bool(weight_files(folder)) or (folder / INT8).is_file()


def pickled_only(at: Path, *, model: Path) -> ArtifactError:
    """Return what is wrong with weights that are there as a pickle alone, in a model's folder."""
    return ArtifactError(
        f"{at} has its weights in {PICKLED} only, which corom does not open by itself; "
        f"make a safe copy once with: corom convert {model} NEW_FOLDER"
    )


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Let what safetensors says of the disk (it is full, say) be the OSError that it was."""
    from safetensors import SafetensorError

    try:
        yield path
    except SafetensorError as error:
        if (found := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None


def read_metadata(path: Path) -> dict[str, str]:
    """Return the `__metadata__` of a safetensors file whose header was checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing") from None
    except SafetensorError as error:
        raise ArtifactError(f"{path} is corrupt or cut short ({error}); fetch it again") from None


def read_safetensors(paths: list[Path], *, wanted: Callable[[str], bool] | None = None) -> Weights:
    """Return the encoder's tensors in the files as float32 (about 1 s per GB).

    `wanted` picks others, by canonical name.
    """
    pick = _is_wanted if wanted is None else wanted
    return {name: tensor for path in paths for name, tensor in _tensors(path, pick)}


def _tensors(
    path: Path, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    read_metadata(path)  # the library checks that header and data fit
    data = np.memmap(path, mode="r", dtype=np.uint8)
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header: dict[str, Any] = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not wanted(canonical_name(name)):
            continue
        if entry["dtype"] not in _DTYPES:
            raise ArtifactError(f"{path}: {name} has type {entry['dtype']}, not F32, F16 or BF16")
        begin, end = entry["data_offsets"]
        raw = data[start + begin : start + end].view(_DTYPES[entry["dtype"]])
        raw = raw.reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            yield name, (raw.astype(np.uint32) << 16).view(np.float32)
        else:
            yield name, np.array(raw, dtype=np.float32)


def canonical(weights: Weights, *, shape: Shape, source: Path) -> Weights:
    """Return exactly the encoder's weights, by canonical name, contiguous.

    The `bert.` prefix goes, as do pooler, masked-language head and position ids; LayerNorm's old
    `gamma` and `beta` become weight and bias. Raises ArtifactError naming the first tensor that
    is missing, too many, of another shape, or not finite.
    """
    expected = shape.weight_shapes()
    found = {canonical_name(name): tensor for name, tensor in weights.items()}
    if surplus := sorted(name for name in found.keys() - expected.keys() if _is_wanted(name)):
        raise ArtifactError(
            f"{source}: {surplus[0]} has no place in a BERT encoder of {shape.layers} layers"
        )
    for name, dimensions in expected.items():
        if name not in found:
            raise ArtifactError(f"{source} lacks {name}, of shape {dimensions}")
        if found[name].shape != dimensions:
            raise ArtifactError(
                f"{source}: {name} has shape {found[name].shape}, "
                f"the configuration asks for {dimensions}"
            )
        with np.errstate(invalid="ignore", over="ignore"):
            # A sum is finite only if every summand is, and costs no array of booleans.
            finite = np.isfinite(found[name].sum())
        if not finite:
            raise ArtifactError(f"{source}: {name} holds NaN or infinite values")
    return {name: np.ascontiguousarray(found[name]) for name in expected}


def _is_wanted(name: str) -> bool:
    encoder = name.startswith(("embeddings.", "encoder.layer."))
    return encoder and name != "embeddings.position_ids"


def canonical_name(name: str) -> str:
    """Return what a tensor of any BERT folder is called here."""
    name = name.removeprefix("bert.")
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name
