"""The back ends the encode benchmark compares: what each is, by name. Standard library only."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, TypeAlias

Model: TypeAlias = Literal["large", "base", "embedded"]
Library: TypeAlias = Literal["corom", "sentence-transformers", "fastembed"]
Peer: TypeAlias = Literal["onnx", "onnx-int8", "openvino", "openvino-int8"]


@dataclass(frozen=True)
class Backend:
    """One library in one configuration, on one model."""

    name: str
    library: Library
    model: Model
    precision: str
    """What it multiplies in: names the peak it is held against; `auto` is told by corom."""
    engine: str
    """corom: auto, openvino or torch; sentence-transformers: its `backend`."""
    form: Peer | None = None
    """The form of the model a peer needs, made from it before the rounds (see encode_peers.py)."""


MAX_LENGTH = 128
"""Tokens that every back end reads of a text."""
_ST: Library = "sentence-transformers"
BACKENDS = (
    Backend("st-fp32", _ST, "large", "fp32", "torch"),
    Backend("st-onnx-int8", _ST, "large", "int8", "onnx", "onnx-int8"),
    # OpenVINO's own choice is bf16 where the chip has it.
    Backend("st-openvino", _ST, "large", "bf16", "openvino", "openvino"),
    Backend("st-openvino-int8", _ST, "large", "int8", "openvino", "openvino-int8"),
    Backend("fastembed", "fastembed", "large", "fp32", "onnx", "onnx"),
    Backend("corom-fp32", "corom", "large", "fp32", "openvino"),
    Backend("corom-bf16", "corom", "large", "bf16", "openvino"),
    # auto: what a user gets, corom's own kernels where the chip has VNNI and no AMX.
    Backend("corom-int8", "corom", "large", "int8", "auto"),
    Backend("corom-int8-openvino", "corom", "large", "int8", "openvino"),
    Backend("corom-torch", "corom", "large", "fp32", "torch"),
    Backend("base-st-fp32", _ST, "base", "fp32", "torch"),
    Backend("base-corom-bf16", "corom", "base", "bf16", "openvino"),
    Backend("base-corom-int8", "corom", "base", "int8", "auto"),
    Backend("corom-medical", "corom", "embedded", "int8", "auto"),
)

REFERENCE = "st-fp32"
"""What every other is divided by, in the same round."""

SAME_WEIGHTS: dict[Model, str] = {"large": "st-fp32", "base": "base-st-fp32"}
"""Whose vectors a back end's are compared with."""


def without_telemetry() -> None:
    """Let OpenVINO and NNCF tell nobody that they are used: both do without what would tell."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing it fails


def backend(name: str) -> Backend:
    """Return the back end of that name; ValueError naming the known ones."""
    for known in BACKENDS:
        if known.name == name:
            return known
    raise ValueError(f"{name!r} is none of {', '.join(known.name for known in BACKENDS)}")
