"""The head of a cross-encoder: a vector of query and passage read together in, a score out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.models.checkpoint import Checkpoint

TOKEN_TYPES = "embeddings.token_type_embeddings.weight"  # noqa: S105 - the name of a tensor


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
        pooled = np.tanh(vectors @ self.pooler.T + self.pooler_bias)
        found: NDArray[np.float32] = pooled @ self.classifier[0] + self.classifier_bias[0]
        return found

    def named(self) -> dict[str, NDArray[np.float32]]:
        """Return the tensors under the names BertForSequenceClassification has for them."""
        return dict(zip(_NAMES.values(), self, strict=True))


_NAMES = {
    "pooler": "bert.pooler.dense.weight",
    "pooler_bias": "bert.pooler.dense.bias",
    "classifier": "classifier.weight",
    "classifier_bias": "classifier.bias",
}


def read_head(checkpoint: Checkpoint) -> Head:
    """Return the head in a cross-encoder's folder.

    Raises ArtifactError for a folder without one, for more than one label, and for a model that
    tells query and passage apart by token types: corom's engines give every token the first type.
    """
    names = {name.removeprefix("bert."): field for field, name in _NAMES.items()}
    found = checkpoint.read_tensors((*names, TOKEN_TYPES))
    hidden = checkpoint.shape.hidden
    shapes: dict[str, Any] = {
        "pooler": (hidden, hidden),
        "pooler_bias": (hidden,),
        "classifier": (1, hidden),
        "classifier_bias": (1,),
    }
    for name, field in names.items():
        if name not in found:
            raise ArtifactError(
                f"{checkpoint.folder} holds no {name}: it is no cross-encoder; make one with "
                "corom train reranker"
            )
        if found[name].shape != shapes[field] or not np.isfinite(found[name]).all():
            raise ArtifactError(
                f"{checkpoint.folder}: {name} must hold {shapes[field]} finite numbers, not "
                f"{found[name].shape}"
            )
    types = found.get(TOKEN_TYPES)  # where there are none, the engine says so
    if types is not None and len(types) > 1 and not np.array_equal(types[0], types[1]):
        raise ArtifactError(
            f"{checkpoint.folder} tells query and passage apart by token types, which corom's "
            "engines do not; use a cross-encoder that corom train reranker made"
        )
    return Head(**{field: found[name] for name, field in names.items()})
