"""Averages of weights ("model soups", Wortsman et al., 2203.05482; LM-Cocktail, 2311.13534)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import InputError
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.dense import Dense
from corom.models.head import Head, read_head
from corom.models.portable import Portable, write_portable

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


def mix(weights: Sequence[Weights], shares: Sequence[float]) -> dict[str, NDArray[np.float32]]:
    """Return the weighted mean of models' weights; they must have the same names and shapes.

    `shares` are not negative and need not sum to one.
    """
    if not weights or len(weights) != len(shares):
        raise InputError(f"{len(shares)} shares for {len(weights)} models: give one for each")
    total = sum(shares)
    if not 0 < total < math.inf or any(share < 0 for share in shares):
        raise InputError("shares must be finite, not negative, and not all zero")
    shapes = [{name: array.shape for name, array in one.items()} for one in weights]
    if any(one != shapes[0] for one in shapes):
        raise InputError("models of different shapes cannot be averaged")
    mixed = {}
    for name in weights[0]:
        parts = [np.float64(s / total) * one[name] for one, s in zip(weights, shares, strict=True)]
        mixed[name] = np.sum(parts, axis=0).astype(np.float32)
    return mixed


def average(
    models: Sequence[Path],
    target: Path,
    *,
    shares: Sequence[float] | None = None,
    card: str | None = None,
) -> None:
    """Write the (weighted) average of model folders as a model folder, with `card` as README.md.

    They must share shape and tokenizer, and be all encoders or all rerankers, whose heads are
    averaged too, as is a Dense; the first one's encoding is kept. Raises InputError naming the
    model that differs.
    """
    if not models:
        raise InputError("no model to average")
    checkpoints = [load_checkpoint(folder) for folder in models]
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if (other.shape, other.tokenizer_json) != (first.shape, first.tokenizer_json):
            raise InputError(f"{other.name} has another shape or tokenizer than {first.name}")
        if other.is_classifier != first.is_classifier:
            raise InputError(
                f"{other.name} is {_kind(other)} and {first.name} {_kind(first)}: average models "
                "of one kind"
            )
    shares = shares or [1.0] * len(checkpoints)
    weights = mix([checkpoint.load_weights() for checkpoint in checkpoints], shares)
    head = None
    if first.is_classifier:
        head = Head(**mix([read_head(one)._asdict() for one in checkpoints], shares))
    dense = _mixed_dense(checkpoints, shares)
    model = Portable(first.shape, first.encoding, weights, first.tokenizer_json, head, dense)
    write_portable(target, model, card=card)


def _mixed_dense(checkpoints: Sequence[Checkpoint], shares: Sequence[float]) -> Dense | None:
    first, own = checkpoints[0], [one.dense for one in checkpoints]
    for one, dense in zip(checkpoints, own, strict=True):
        if (dense and dense.form) != (first.dense and first.dense.form):
            raise InputError(f"{one.name} has another Dense than {first.name}")
    found = [dense for dense in own if dense]
    return found[0]._replace(tensors=mix([one.tensors for one in found], shares)) if found else None


def _kind(checkpoint: Checkpoint) -> str:
    return "a reranker" if checkpoint.is_classifier else "an encoder"
