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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from corom.errors import ArtifactError
from corom.files import write_bytes
from corom.models.config import Shape
from corom.models.weights import SOURCE_KEY, Weights

FORMAT = "corom-int8-1"
WORDS = "embeddings.word_embeddings.weight"

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
    write_bytes(path, save(contiguous, metadata))


def read_fidelity(path: Path) -> Fidelity | None:
    """Return what was measured when the int8 file was made, without reading its tensors."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is not a readable safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} has int8 format {metadata.get('format')!r}, this version reads {FORMAT!r}; "
            "make it again with: corom convert SRC OUT --precision int8"
        )
    return Fidelity(**json.loads(metadata["fidelity"])) if "fidelity" in metadata else None


def read_int8(path: Path, *, shape: Shape) -> Int8Weights:
    """Return what an int8 file holds; raise ArtifactError naming file and tensor if broken."""
    fidelity = read_fidelity(path)
    with safe_open(path, framework="numpy") as file:
        tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        source = file.metadata().get(SOURCE_KEY, "")
    scaled = [name.removesuffix(".scale") for name in tensors if name.endswith(".scale")]
    linears = {
        name: Linear(*(_take(tensors, f"{name}.{part}", path) for part in Linear._fields))
        for name in scaled
        if name != WORDS
    }
    spans = [name.removesuffix(".input.low") for name in tensors if name.endswith(".input.low")]
    inputs = {
        name: InputRange(*(_take(tensors, f"{name}.input.{end}", path) for end in ("low", "high")))
        for name in spans
    }
    words, scales = _take(tensors, WORDS, path), _take(tensors, f"{WORDS}.scale", path)
    others = {name: value.astype(np.float32) for name, value in tensors.items()}
    found = Int8Weights(linears, inputs, words, scales, others, source, fidelity)
    _check(found, shape=shape, path=path)
    return found


def _take(tensors: dict[str, Any], name: str, path: Path) -> Any:  # noqa: ANN401 - any dtype
    try:
        return tensors.pop(name)
    except KeyError:
        raise ArtifactError(f"{path} lacks the tensor {name}; make it again") from None


def _check(weights: Int8Weights, *, shape: Shape, path: Path) -> None:
    found = {WORDS: weights.words.shape}
    for name, linear in weights.linears.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = linear.weight.shape, linear.bias.shape
    found |= {name: value.shape for name, value in weights.others.items()}
    for name, expected in shape.weight_shapes().items():
        if found.get(name) != expected:
            raise ArtifactError(f"{path}: {name} should have {expected}, has {found.get(name)}")
    for layer_input, span in weights.inputs.items():
        sizes = {weights.linears[name].weight.shape[1] for name in consumers(layer_input)}
        if sizes != {len(span.low)} or not (span.low < span.high).all():
            raise ArtifactError(f"{path}: the input range of {layer_input} does not fit")


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
