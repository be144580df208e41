"""The head of a cross-encoder: a vector of query and passage read together in, a score out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.models.checkpoint import Checkpoint
from corom.models.weights import Weights, canonical_name


class Head(NamedTuple):
    """BERT's pooler and a classifier of one label: `classifier tanh(pooler [CLS])`."""

    pooler: NDArray[np.float32]
    """(hidden, hidden)"""
    pooler_bias: NDArray[np.float32]
    """(hidden,)"""
    classifier: NDArray[np.float32]
    """(1, hidden)"""
    classifier_bias: NDArray[np.float32]
    """(1,)"""

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the score of each [CLS] vector, (n,) of (n, hidden): a logit, of any size."""
        # No matrix products: in these, equal vectors may score unlike in the last bits.
        pooled = np.tanh(np.vecdot(vectors[:, None], self.pooler) + self.pooler_bias)
        found: NDArray[np.float32] = np.vecdot(pooled, self.classifier[0]) + self.classifier_bias[0]
        return found

    def on(self, weights: Weights) -> Weights:
        """Return head and encoder under BertForSequenceClassification's names."""
        below = {f"bert.{name}": weight for name, weight in weights.items()}
        return {**below, **dict(zip(_NAMES.values(), self, strict=True))}


_NAMES = {
    "pooler": "bert.pooler.dense.weight",
    "pooler_bias": "bert.pooler.dense.bias",
    "classifier": "classifier.weight",
    "classifier_bias": "classifier.bias",
}


def read_head(checkpoint: Checkpoint) -> Head:
    """Return the head in a cross-encoder's folder; raise ArtifactError as `head_of`."""
    found = checkpoint.read_tensors([canonical_name(name) for name in _NAMES.values()])
    return head_of(found, hidden=checkpoint.shape.hidden, source=checkpoint.folder)


def head_of(tensors: Weights, *, hidden: int, source: Path) -> Head:
    """Return the head among tensors by canonical name.

    Raises ArtifactError if there is none, or one of more than one label.
    """
    shapes: dict[str, Any] = {
        "pooler": (hidden, hidden),
        "pooler_bias": (hidden,),
        "classifier": (1, hidden),
        "classifier_bias": (1,),
    }
    parts = {}
    for field, full_name in _NAMES.items():
        name = canonical_name(full_name)
        if name not in tensors:
            raise ArtifactError(
                f"{source} holds no {name}: it is no cross-encoder; make one with "
                "corom train reranker"
            )
        parts[field] = tensors[name]
        if parts[field].shape != shapes[field] or not np.isfinite(parts[field]).all():
            raise ArtifactError(
                f"{source}: {name} must hold {shapes[field]} finite numbers, not "
                f"{parts[field].shape}"
            )
    return Head(**parts)
