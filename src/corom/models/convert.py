"""One portable folder from any model folder, `pytorch_model.bin` included."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

from corom.errors import ArtifactError, InputError, MissingExtraError
from corom.extras import need
from corom.files import require_new, write_bytes
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.config import Shape
from corom.models.dense import Dense, dense_folder, dense_of, read_dense
from corom.models.head import Head, head_of, read_head
from corom.models.layouts import SILENT, Stated, is_classifier, read_encoding, read_shape
from corom.models.portable import Dtype, Portable, write_portable
from corom.models.tokenizer import read_tokenizer
from corom.models.weights import (
    PICKLED,
    SINGLE,
    Weights,
    canonical,
    canonical_name,
    holds_safetensors,
)

# Before 2.10 torch.load(weights_only=True) could be made to run code: CVE-2025-32434,
# CVE-2026-24747.
_SAFE_TORCH = (2, 10)

# What torch.load was seen to raise on 3,000 damaged files.
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError),
    *(AttributeError, TypeError, AssertionError, struct.error),
)


def convert(
    source: Path, target: Path, *, dtype: Dtype = "float32", stated: Stated = SILENT
) -> Checkpoint:
    """Write the model in `source` to the new portable folder `target` and return it.

    Reads every layout of docs/model-folders.md, rerankers too; a `pytorch_model.bin` through torch
    (extra torch), weights only. What `stated` says takes the place of what the folder does; of a
    reranker that may be its max_length. A README.md of the source is kept as the card. Raises
    ArtifactError naming what cannot be used, or that `target` exists.
    """
    source, target = Path(source), Path(target)
    require_new(target)
    shape = read_shape(source)
    encoding = read_encoding(source, positions=shape.positions, stated=stated)
    tokenizer_json = read_tokenizer(source, shape=shape, encoding=encoding)
    card = _read_card(source / "README.md")
    head = dense = None
    if is_classifier(source):
        if stated != Stated(max_length=stated.max_length):
            raise InputError(f"{source} is a reranker: of its encoding only max_length counts")
        head, weights = _cross_encoder(source)
    else:
        dense = _dense(source, shape=shape)
        weights = (
            convert_bin(source)
            if _is_pickled(source)
            else load_checkpoint(source, stated=stated, dense=dense).load_weights()
        )
    model = Portable(shape, encoding, weights, tokenizer_json, head, dense)
    write_portable(target, model, card=card, dtype=dtype)
    return load_checkpoint(target)


def add_safetensors(folder: Path) -> Checkpoint:
    """Write model.safetensors beside each `pytorch_model.bin` of `folder` and return the model.

    What is in the cache of a hub can then be used by its name. Needs the torch extra.
    """
    folder = Path(folder)
    has_safe, dense_at = holds_safetensors(folder), dense_folder(folder)
    if has_safe and (dense_at is None or not _is_pickled(dense_at)):
        raise ArtifactError(f"{folder} has safetensors already; name a folder to convert it to")
    if dense_at and (dense := _dense(folder, shape=read_shape(folder))):
        _write_safe(dense_at, dense.tensors)
    if is_classifier(folder):
        head, weights = _cross_encoder(folder)
        _write_safe(folder, head.on(weights))
    elif not has_safe:
        _write_safe(folder, convert_bin(folder))
    return load_checkpoint(folder)


def _write_safe(folder: Path, tensors: Weights) -> None:
    from safetensors.numpy import save

    write_bytes(folder / SINGLE, save(tensors, metadata={"format": "pt"}))


def _dense(source: Path, *, shape: Shape) -> Dense | None:
    """Return the Dense in a model folder, also if it is a pickle."""
    at = dense_folder(source)
    if at is None or not _is_pickled(at):
        return read_dense(source, hidden=shape.hidden)
    return dense_of(_read_bin(at), at=at, hidden=shape.hidden)


def _is_pickled(folder: Path) -> bool:
    return (folder / PICKLED).is_file() and not holds_safetensors(folder)


def _cross_encoder(source: Path) -> tuple[Head, Weights]:
    """Return a cross-encoder's head and the weights below it."""
    if not _is_pickled(source):
        checkpoint = load_checkpoint(source)
        return read_head(checkpoint), checkpoint.load_weights()
    shape, path = read_shape(source), source / PICKLED
    tensors = _read_bin(source)
    named = {canonical_name(name): tensor for name, tensor in tensors.items()}
    head = head_of(named, hidden=shape.hidden, source=path)
    return head, canonical(tensors, shape=shape, source=path)


def _read_card(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except UnicodeDecodeError:
        raise ArtifactError(f"{path} is not UTF-8; mend or remove it") from None


def convert_bin(source: Path) -> Weights:
    """Return the weights in the `pytorch_model.bin` of `source`, as `Checkpoint.load_weights`.

    Needs the torch extra. Code in the file is refused, not run.
    """
    return canonical(_read_bin(source), shape=read_shape(source), source=Path(source) / PICKLED)


def _read_bin(source: Path) -> Weights:
    torch = need("torch", extra="torch")
    if tuple(map(int, torch.__version__.split(".")[:2])) < _SAFE_TORCH:
        raise MissingExtraError(
            f"torch {torch.__version__} cannot open {PICKLED} safely; "
            "upgrade it with: pip install --upgrade 'corom[torch]'"
        )
    path = Path(source) / PICKLED
    if not path.is_file():
        raise ArtifactError(f"{path} is missing")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = type(error).__name__
        raise ArtifactError(
            f"{path} is corrupt, or holds more than weights ({reason}); fetch it again"
        ) from None
    if not isinstance(state, dict) or not all(torch.is_tensor(part) for part in state.values()):
        raise ArtifactError(f"{path} does not hold a plain dictionary of weights")
    return {name: tensor.to(torch.float32).numpy() for name, tensor in state.items()}
