"""One portable folder from any model folder, `pytorch_model.bin` included."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

from corom.errors import ArtifactError, MissingExtraError
from corom.extras import need
from corom.files import write_bytes
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.layouts import read_encoding, read_shape
from corom.models.portable import Dtype, write_portable
from corom.models.tokenizer import read_tokenizer
from corom.models.weights import INT8, PICKLED, SINGLE, Weights, canonical, weight_files

# Before 2.10 torch.load(weights_only=True) could be made to run code: CVE-2025-32434,
# CVE-2026-24747.
_SAFE_TORCH = (2, 10)

# What torch.load was seen to raise on 3,000 damaged files.
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError),
    *(AttributeError, TypeError, AssertionError, struct.error),
)


def convert(source: Path, target: Path, *, dtype: Dtype = "float32") -> Checkpoint:
    """Write the model in `source` to the new portable folder `target` and return it.

    Reads every layout of docs/model-folders.md; a `pytorch_model.bin` through torch (extra
    torch), weights only. A README.md of the source is kept as the card. Raises ArtifactError
    naming what cannot be used, or that `target` exists.
    """
    source, target = Path(source), Path(target)
    if target.exists():
        raise ArtifactError(f"{target} exists already; remove it or choose another name")
    pickled = (source / PICKLED).is_file() and not (
        weight_files(source) or (source / INT8).is_file()
    )
    shape = read_shape(source)
    encoding = read_encoding(source, positions=shape.positions)
    write_portable(
        target,
        shape=shape,
        encoding=encoding,
        weights=convert_bin(source) if pickled else load_checkpoint(source).load_weights(),
        tokenizer_json=read_tokenizer(source, shape=shape, encoding=encoding),
        card=_read_card(source / "README.md"),
        dtype=dtype,
    )
    return load_checkpoint(target)


def add_safetensors(folder: Path) -> Checkpoint:
    """Write model.safetensors beside the `pytorch_model.bin` of `folder` and return the model.

    What is in the cache of a hub can then be used by its name. Needs the torch extra.
    """
    folder = Path(folder)
    if weight_files(folder) or (folder / INT8).is_file():
        raise ArtifactError(f"{folder} has safetensors already; name a folder to convert it to")
    from safetensors.numpy import save

    write_bytes(folder / SINGLE, save(convert_bin(folder), metadata={"format": "pt"}))
    return load_checkpoint(folder)


def _read_card(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except UnicodeDecodeError:
        raise ArtifactError(f"{path} is not UTF-8; mend or remove it") from None


def convert_bin(source: Path) -> Weights:
    """Return the weights in the `pytorch_model.bin` of `source`, as `Checkpoint.load_weights`.

    Needs the torch extra. Code in the file is refused, not run.
    """
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
    weights = {name: tensor.to(torch.float32).numpy() for name, tensor in state.items()}
    return canonical(weights, shape=read_shape(source), source=path)
