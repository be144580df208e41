"""An int8 form as the kernels read it: weights in panels, scales and ranges folded into few rows.

The structures mirror those of `native/encoder.c`.
"""

from __future__ import annotations

from ctypes import POINTER, Structure, c_float, c_size_t, c_void_p, pointer
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corom.models.config import Pooling, Shape
from corom.models.int8 import InputRange, Int8Weights, require_pooling

Floats: TypeAlias = NDArray[np.float32]

PANEL = 32
"""Outputs whose weights lie together."""
_STEPS = np.float32(127.5)  # an input's level is 127.5 (x + 1) for x in [-1, 1]


class _Linear(Structure):
    _fields_ = [("weight", c_void_p), ("scale", c_void_p), ("bias", c_void_p)]


class _HalfLinear(Structure):
    _fields_ = [("weight", c_void_p), ("bias", c_void_p)]


class _Norm(Structure):
    _fields_ = [(name, c_void_p) for name in ("weight", "bias", "level_weight", "level_bias")]


_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "inner": "intermediate.dense",
    "outer": "output.dense",
}
"""Of the products of a layer: what the kernels call it -> its name in a checkpoint."""


class _Layer(Structure):
    _fields_ = [
        *((name, _Linear) for name in _NAMES),
        ("middle", _Norm),
        ("end", _Norm),
        ("inner_gain", c_void_p),
        ("inner_shift", c_void_p),
    ]


class _LastLayer(Structure):
    _fields_ = [*((name, _HalfLinear) for name in _NAMES), ("middle", _Norm), ("end", _Norm)]


class Model(Structure):
    """What the kernels are given; `PackedModel` keeps its arrays alive."""

    _fields_ = [
        *((name, c_size_t) for name in ("hidden", "heads", "inner", "layers")),
        ("words", c_void_p),
        ("word_scales", c_void_p),
        ("places", c_void_p),
        ("start", _Norm),
        ("layer", POINTER(_Layer)),
        ("last", POINTER(_LastLayer)),
        ("shares", c_void_p),
        ("eps", c_float),
    ]


def fits(shape: Shape) -> bool:
    """Whether the kernels compute such a model: exact gelu, sizes that fill their panels."""
    sizes = (shape.hidden // shape.heads, shape.hidden, shape.intermediate)
    whole = all(size % PANEL == 0 for size in sizes) and shape.intermediate >= shape.hidden
    return shape.activation == "gelu" and whole


class PackedModel(NamedTuple):
    """An int8 form in memory, in the order the kernels read it."""

    model: Model
    kept: tuple[object, ...]
    """What the model's addresses point to."""


def pack(shape: Shape, int8: Int8Weights, *, pooling: Pooling) -> PackedModel:
    """Return an int8 form for the kernels; half a second for 12 layers of 768.

    Raises ArtifactError if it was made for another pooling.
    """
    require_pooling(int8, pooling, shape=shape)
    packer = _Packer(shape, int8)
    full = shape.layers - (pooling == "cls")
    layers = (_Layer * max(full, 1))(*(packer.layer(layer) for layer in range(full)))
    last = pointer(packer.last_layer()) if pooling == "cls" else None
    others = int8.others
    places = (
        others["embeddings.position_embeddings.weight"]
        + others["embeddings.token_type_embeddings.weight"][0]
    )
    model = Model(
        shape.hidden,
        shape.heads,
        shape.intermediate,
        full,
        packer.keep(int8.words),
        packer.keep(int8.word_scales),
        packer.keep(places),
        packer.norm("embeddings.LayerNorm", before="encoder.layer.0.attention.self"),
        layers,
        last,
        packer.keep(_shares(shape.layers, pooling)),
        shape.layer_norm_eps,
    )
    return PackedModel(model, (layers, last, *packer.kept))


class _Packer:
    """Folds and reorders the tensors of an int8 form; `kept` has what was made."""

    def __init__(self, shape: Shape, int8: Int8Weights) -> None:
        self._shape, self._int8 = shape, int8
        self.kept: list[NDArray[Any]] = []

    def keep(self, array: NDArray[Any]) -> int:
        """Return the address of an array: of itself if it lies right, else of a copy."""
        kept = aligned(array)
        self.kept.append(kept)
        return kept.ctypes.data

    def _linear(self, name: str, *, gain: ArrayLike = 1.0, shift: ArrayLike = 0.0) -> _Linear:
        """Return `gain * (weight . x + bias) + shift` as a product of levels."""
        weight, scale, bias = self._int8.linears[name]
        scale = scale * np.asarray(gain, np.float32)
        bias = bias * np.asarray(gain, np.float32) + np.asarray(shift, np.float32)
        # Its input is what the level says, divided by 127.5, less 1.
        bias = bias - scale * weight.sum(axis=1, dtype=np.int32)
        scale = (scale / _STEPS).astype(np.float32)
        return _Linear(*map(self.keep, (in_panels(weight), scale, bias.astype(np.float32))))

    def norm(self, name: str, *, before: str | None) -> _Norm:
        """Return a norm, and with it the levels of the product it stands before, if any."""
        weight, bias = (self._int8.others[f"{name}.{part}"] for part in ("weight", "bias"))
        span = self._int8.inputs.get(before) if before else None
        if span is None:
            return _Norm(self.keep(weight), self.keep(bias), None, None)
        gain, shift = _levels(span)
        return _Norm(*map(self.keep, (weight, bias, weight * gain, bias * gain + shift)))

    def layer(self, layer: int) -> _Layer:
        at = f"encoder.layer.{layer}"
        mixed = self._int8.inputs[f"{at}.attention.output.dense"]
        gains: dict[str, dict[str, ArrayLike]] = {
            # A softmax adds up to 1: scaled values make scaled mixtures, on their grid at once.
            "value": {"gain": 1 / mixed.half, "shift": -mixed.middle / mixed.half}
        }
        linears = (
            self._linear(f"{at}.{name}", **gains.get(key, {})) for key, name in _NAMES.items()
        )
        gain, shift = _levels(self._int8.inputs[f"{at}.output.dense"])
        return _Layer(
            *linears,
            self.norm(f"{at}.attention.output.LayerNorm", before=f"{at}.intermediate.dense"),
            self.norm(f"{at}.output.LayerNorm", before=f"encoder.layer.{layer + 1}.attention.self"),
            self.keep(gain),
            self.keep(shift),
        )

    def last_layer(self) -> _LastLayer:
        at = f"encoder.layer.{self._shape.layers - 1}"
        return _LastLayer(
            *(self._half_linear(f"{at}.{name}", key == "key") for key, name in _NAMES.items()),
            self.norm(f"{at}.attention.output.LayerNorm", before=None),
            self.norm(f"{at}.output.LayerNorm", before=None),
        )

    def _half_linear(self, name: str, is_key: bool) -> _HalfLinear:
        weight = self._int8.others[f"{name}.weight"]
        if is_key:  # a product with each head's own transposed weights; its bias cancels out
            heads = np.split(weight, self._shape.heads)
            panels = np.concatenate([halves_in_panels(head.T) for head in heads])
            return _HalfLinear(self.keep(panels), None)
        bias = self._int8.others[f"{name}.bias"]
        return _HalfLinear(self.keep(halves_in_panels(weight)), self.keep(bias))


def _levels(span: InputRange) -> tuple[Floats, Floats]:
    """Return gain and shift from a value to its level, 0 to 255."""
    gain = _STEPS / span.half
    return gain, _STEPS - span.middle * gain


def _shares(layers: int, pooling: Pooling) -> Floats:
    """Return what each layer's rows (the embeddings first) count in the mean over tokens."""
    shares = np.zeros(layers + 1, np.float32)
    shares[-1] += 1
    if pooling in ("avg_top2", "avg_first_last"):
        shares[-2 if pooling == "avg_top2" else 1] += 1
        shares /= 2
    return shares


def in_panels(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return int8 weights (out, in) as (out / 32, in / 4, 32, 4), aligned."""
    outputs, inputs = weight.shape
    fours = np.ascontiguousarray(weight).view(np.int32)  # four inputs move as one number
    panels = fours.reshape(outputs // PANEL, PANEL, inputs // 4).transpose(0, 2, 1)
    return aligned(panels).view(np.int8)


def halves_in_panels(weight: Floats) -> NDArray[np.uint16]:
    """Return float weights (out, in) as (out / 32, in, 32) float16, in their bits, aligned."""
    outputs, inputs = weight.shape
    bits = weight.astype(np.float16).view(np.uint16)
    return aligned(bits.reshape(outputs // PANEL, PANEL, inputs).transpose(0, 2, 1))


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in one piece at a multiple of 64, a copy unless it lies so."""
    if array.flags.c_contiguous and array.ctypes.data % 64 == 0:
        return array
    copy: NDArray[Any] = space(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def space(size: int) -> NDArray[np.uint8]:
    """Return `size` bytes at an address that is a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]
