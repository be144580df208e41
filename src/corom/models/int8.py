"""The int8 form of a checkpoint: one file, `model.int8.safetensors`.

Linear layers hold int8 weights with one scale per output; in front of each stands the range every
input channel is quantised over (its `low` and `high`), calibrated on text. The range's middle and
width are folded into bias and weights, so at run time a layer is

    y = scale * (weight @ q) + bias,    q = round(255 * (x - low) / (high - low)) mapped to [-1, 1]

Word embeddings are int8 with one scale per row. What is left (norms, positions, and with [CLS]
pooling the whole last layer, which runs for one token only) is float16.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from corom.errors import ArtifactError
from corom.files import write_bytes
from corom.models.config import Pooling, Shape
from corom.models.weights import SOURCE_KEY, Weights, read_metadata

FORMAT = "corom-int8-1"
WORDS = "embeddings.word_embeddings.weight"
_AGAIN = "make it again with: corom convert SRC OUT --precision int8"

_Form: TypeAlias = tuple[str, tuple[int, ...]]
"""A tensor's type, as safetensors calls it, and its shape."""

# Which linear layers share a quantised input, by the name of that input within a layer.
INPUTS = {
    "attention.self": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense": ("attention.output.dense",),
    "intermediate.dense": ("intermediate.dense",),
    "output.dense": ("output.dense",),
}


class Linear(NamedTuple):
    """A quantised linear layer."""

    weight: NDArray[np.int8]
    """(out, in)"""
    scale: NDArray[np.float32]
    """(out,)"""
    bias: NDArray[np.float32]
    """(out,)"""


class InputRange(NamedTuple):
    """The range each input channel is quantised over."""

    low: NDArray[np.float32]
    """(in,)"""
    high: NDArray[np.float32]
    """(in,)"""

    @property
    def middle(self) -> NDArray[np.float32]:
        """The value that is quantised to 0."""
        return (self.low + self.high) * np.float32(0.5)

    @property
    def half(self) -> NDArray[np.float32]:
        """The distance from the middle to either end."""
        return (self.high - self.low) * np.float32(0.5)


@dataclass(frozen=True)
class Fidelity:
    """How well the int8 form keeps what fp32 says, on text calibration has not seen."""

    mean_cosine: float
    min_cosine: float
    top10_overlap: float
    texts: int

    def passed(self) -> bool:
        """Whether `precision="auto"` may choose int8: mean cosine >= 0.999, overlap >= 95 %."""
        return self.mean_cosine >= 0.999 and self.top10_overlap >= 0.95

    def advice(self) -> str:
        """Return what was measured, and what to do when it is not good enough, in one line."""
        found = (
            f"int8 keeps {self.mean_cosine:.5f} mean cosine to fp32 (least {self.min_cosine:.4f}) "
            f"and {self.top10_overlap:.1%} of the ten best, on {self.texts} held-out texts"
        )
        mend = "; calibrate on your own text (corom convert --calibrate FILE) or use bf16"
        return found if self.passed() else found + mend


@dataclass(frozen=True)
class Int8Weights:
    """Everything an int8 file holds."""

    linears: Mapping[str, Linear]
    inputs: Mapping[str, InputRange]
    words: NDArray[np.int8]
    word_scales: NDArray[np.float32]
    others: Weights
    source_sha256: str
    fidelity: Fidelity | None = None
    path: Path | None = None
    """The file it was read from; None if it was just made."""


def save_int8(path: Path, weights: Int8Weights) -> None:
    """Write an int8 file atomically."""
    tensors: dict[str, NDArray[np.generic]] = {
        WORDS: weights.words,
        f"{WORDS}.scale": weights.word_scales,
        **{name: value.astype(np.float16) for name, value in weights.others.items()},
    }
    for name, linear in weights.linears.items():
        tensors[f"{name}.weight"] = linear.weight
        tensors[f"{name}.scale"] = linear.scale
        tensors[f"{name}.bias"] = linear.bias
    for name, span in weights.inputs.items():
        tensors[f"{name}.input.low"], tensors[f"{name}.input.high"] = span
    metadata = {"format": FORMAT, SOURCE_KEY: weights.source_sha256}
    if weights.fidelity:
        metadata["fidelity"] = json.dumps(asdict(weights.fidelity))
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    write_bytes(path, _in_order(save(contiguous, metadata)))


def _in_order(data: bytes) -> bytes:
    """Return a safetensors file with its metadata by name: the library writes it in any order."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # as the library aligns what follows
    return len(text).to_bytes(8, "little") + text + data[start:]


def read_fidelity(path: Path) -> Fidelity | None:
    """Return what was measured when the int8 file was made, without reading its tensors."""
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} has int8 format {metadata.get('format')!r}, this version reads {FORMAT!r}; "
            f"{_AGAIN}"
        )
    return _parsed_fidelity(metadata["fidelity"], path) if "fidelity" in metadata else None


def _parsed_fidelity(text: str, path: Path) -> Fidelity:
    try:
        found = Fidelity(**json.loads(text))
    except (TypeError, ValueError, RecursionError):
        found = None
    if found is None or any(type(value) not in (int, float) for value in astuple(found)):
        names = ", ".join(field.name for field in fields(Fidelity))
        raise ArtifactError(f"{path}: its fidelity must hold the numbers {names}; {_AGAIN}")
    return found


def read_int8(path: Path, *, shape: Shape) -> Int8Weights:
    """Return what an int8 file holds; raise ArtifactError naming file and tensor if broken."""
    fidelity = read_fidelity(path)
    with safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        found = {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
        layers = shape.layers - (not _has_linears(found, shape.layers - 1))
        _check_forms(found, _forms(shape, layers=layers), path=path)
        tensors: dict[str, Any] = {name: file.get_tensor(name) for name in found}
        source = file.metadata().get(SOURCE_KEY, "")
    _check_finite(tensors, path=path)
    names = _layer_inputs(layers)
    linears = {
        name: Linear(*(tensors.pop(f"{name}.{part}") for part in Linear._fields))
        for layer_input in names
        for name in consumers(layer_input)
    }
    inputs = {
        name: InputRange(*(tensors.pop(f"{name}.input.{end}") for end in InputRange._fields))
        for name in names
    }
    _check_ranges(inputs, path=path)
    words, scales = tensors.pop(WORDS), tensors.pop(f"{WORDS}.scale")
    others = {name: value.astype(np.float32) for name, value in tensors.items()}
    return Int8Weights(linears, inputs, words, scales, others, source, fidelity, path)


def _has_linears(names: Iterable[str], layer: int) -> bool:
    at = f"encoder.layer.{layer}."
    return any(name.startswith(at) and name.endswith(".scale") for name in names)


def _layer_inputs(layers: int) -> list[str]:
    return [f"encoder.layer.{layer}.{key}" for layer in range(layers) for key in INPUTS]


def _forms(shape: Shape, *, layers: int) -> dict[str, _Form]:
    """Return the form of every tensor of a file whose first `layers` layers are int8."""
    shapes = shape.weight_shapes()
    forms: dict[str, _Form] = {name: ("F16", sizes) for name, sizes in shapes.items()}
    forms[WORDS], forms[f"{WORDS}.scale"] = ("I8", shapes[WORDS]), ("F32", shapes[WORDS][:1])
    for layer_input in _layer_inputs(layers):
        for name in consumers(layer_input):
            sizes = shapes[f"{name}.weight"]
            forms[f"{name}.weight"] = "I8", sizes
            forms[f"{name}.scale"] = forms[f"{name}.bias"] = "F32", sizes[:1]
            # Those that share an input read as much of it.
            for end in InputRange._fields:
                forms[f"{layer_input}.input.{end}"] = "F32", sizes[1:]
    return forms


def _check_forms(found: dict[str, _Form], forms: dict[str, _Form], *, path: Path) -> None:
    # The kernels read by the sizes of the configuration, whatever is there.
    for name, (dtype, sizes) in forms.items():
        if name not in found:
            raise ArtifactError(f"{path} lacks the tensor {name}; {_AGAIN}")
        if found[name] != (dtype, sizes):
            has = "{} {}".format(*found[name])
            raise ArtifactError(f"{path}: {name} should have {dtype} {sizes}, has {has}; {_AGAIN}")
    if surplus := sorted(found.keys() - forms.keys()):
        raise ArtifactError(f"{path}: {surplus[0]} has no place in an int8 form; {_AGAIN}")


def _check_finite(tensors: Mapping[str, NDArray[Any]], *, path: Path) -> None:
    for name, value in tensors.items():
        if value.dtype != np.int8 and not np.isfinite(value).all():
            raise ArtifactError(f"{path}: {name} holds NaN or infinite values; {_AGAIN}")


def _check_ranges(inputs: Mapping[str, InputRange], *, path: Path) -> None:
    for name, span in inputs.items():
        with np.errstate(over="ignore", divide="ignore"):
            # Too wide or too narrow for a float32, it would give NaN later.
            gain = 1 / (span.high - span.low)
        if not ((gain > 0) & np.isfinite(gain)).all():
            raise ArtifactError(f"{path}: {name}.input.high must be above its low; {_AGAIN}")


def require_pooling(found: Int8Weights, pooling: Pooling, *, shape: Shape) -> None:
    """Raise ArtifactError if an int8 form was made for another pooling.

    With [CLS] pooling the last layer is float16, with every other it is int8.
    """
    is_whole = any(name.startswith(f"encoder.layer.{shape.layers - 1}.") for name in found.linears)
    if is_whole == (pooling == "cls"):
        made = "the mean of tokens" if is_whole else "cls"
        raise ArtifactError(
            f"{found.path or 'the int8 form'} was made for {made}, not for pooling {pooling}; "
            f"{_AGAIN}"
        )


def consumers(layer_input: str) -> list[str]:
    """Return the linear layers behind a quantised input such as `encoder.layer.0.output.dense`."""
    key = layer_input.split(".", 3)[3]
    return [layer_input.removesuffix(key) + name for name in INPUTS[key]]


def restored_weights(found: Int8Weights) -> Weights:
    """Return the float32 weights an int8 form stands for (with its rounding)."""
    weights = dict(found.others)
    weights[WORDS] = found.words.astype(np.float32) * found.word_scales[:, None]
    for layer_input, span in found.inputs.items():
        for name in consumers(layer_input):
            linear = found.linears[name]
            weight = linear.weight * linear.scale[:, None] / span.half
            weights[f"{name}.weight"] = weight.astype(np.float32)
            weights[f"{name}.bias"] = (linear.bias - weight @ span.middle).astype(np.float32)
    return weights
