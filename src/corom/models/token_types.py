"""A cross-encoder that tells query and passage apart by token types, for engines that know one.

Every token gets a twin in a vocabulary twice as large, whose vector holds the second type in place
of the first. A passage is then written in twins, and any engine reads it as it should.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from corom.errors import ArtifactError
from corom.models.checkpoint import Checkpoint
from corom.models.int8 import WORDS
from corom.models.weights import Weights

TOKEN_TYPES = "embeddings.token_type_embeddings.weight"  # noqa: S105 - the name of a tensor


@dataclass(frozen=True, kw_only=True)
class TwinCheckpoint(Checkpoint):
    """A checkpoint with every token twice: `i` of the first type, `i + vocabulary` of the second.

    An int8 form in its folder knows no twins, so it is not used.
    """

    int8_file = None

    @property
    def second_type(self) -> int:
        """How far behind a token its twin is."""
        return self.shape.vocabulary // 2

    def load_weights(self) -> Weights:
        """Return the weights, the table of words twice as long."""
        half = replace(self.shape, vocabulary=self.second_type)
        weights = Checkpoint(**vars(self) | {"shape": half}).load_weights()
        first, second = weights[TOKEN_TYPES][:2]
        twins = weights[WORDS] + (second - first)
        return {**weights, WORDS: np.concatenate([weights[WORDS], twins])}


def has_token_types(checkpoint: Checkpoint) -> bool:
    """Return whether the first two token types of a folder differ; one type never does."""
    types = checkpoint.read_tensors((TOKEN_TYPES,)).get(TOKEN_TYPES)
    return types is not None and len(types) > 1 and not np.array_equal(types[0], types[1])


def with_twins(checkpoint: Checkpoint) -> TwinCheckpoint:
    """Return a checkpoint whose tokens of the second type stand behind those of the first."""
    shape = replace(checkpoint.shape, vocabulary=2 * checkpoint.shape.vocabulary)
    return TwinCheckpoint(**vars(checkpoint) | {"shape": shape})


def with_one_type(weights: Weights) -> Weights:
    """Return the weights with the first token type's vector for every type."""
    types = weights[TOKEN_TYPES]
    return {**weights, TOKEN_TYPES: np.tile(types[:1], (len(types), 1))}


def require_one_type(checkpoint: Checkpoint) -> None:
    """Raise ArtifactError if query and passage have different token types: for training."""
    if has_token_types(checkpoint):
        raise ArtifactError(
            f"{checkpoint.folder} tells query and passage apart by token types, which training "
            "does not; start from an encoder, or from a reranker that corom train reranker made"
        )
