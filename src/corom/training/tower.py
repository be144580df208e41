"""A checkpoint as a module: what is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corom.engines.torch_bert import TorchBert
from corom.models.checkpoint import Checkpoint
from corom.models.config import Pooling
from corom.models.dense import Dense
from corom.models.names import open_model


class Tower(nn.Module):  # type: ignore[misc]
    """An encoder with its pooling, and its Dense, which stays as it is; both sides share it."""

    def __init__(self, bert: TorchBert, *, pooling: Pooling, dense: Dense | None = None) -> None:
        super().__init__()
        self.bert, self.pooling = bert, pooling
        self._tanh = dense is not None and dense.tanh
        for name in ("weight", "bias"):
            array = None if dense is None else dense.tensors.get(f"linear.{name}")
            tensor = None if array is None else torch.from_numpy(array)
            # Not persistent: it is the base's, and no part of a run's checkpoints.
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return (texts, dim) float32 vectors, not normalised."""
        vectors = self.bert.encode(ids, lengths, pooling=self.pooling, normalize=False)
        if self.weight is None:
            return vectors
        with torch.autocast(vectors.device.type, enabled=False):
            found = nn.functional.linear(vectors, self.weight, self.bias)
        return found.tanh() if self._tanh else found


def open_checkpoint(name: str) -> Checkpoint:
    """Return the encoder called `name`; raise ArtifactError if it is a reranker."""
    checkpoint = open_model(name)
    checkpoint.require_encoder()
    return checkpoint


def load_tower(checkpoint: Checkpoint, *, dropout: float = 0.0) -> Tower:
    """Return a checkpoint's encoder with its weights."""
    bert = TorchBert(checkpoint.shape, dropout=dropout)
    bert.load_weights(checkpoint.load_weights())
    return Tower(bert, pooling=checkpoint.encoding.pooling, dense=checkpoint.dense)
