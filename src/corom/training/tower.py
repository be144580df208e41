"""A checkpoint as a module: what is trained."""

from __future__ import annotations

from torch import Tensor, nn

from corom.engines.torch_bert import TorchBert
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.config import Pooling
from corom.models.names import resolve


class Tower(nn.Module):  # type: ignore[misc]
    """An encoder with its pooling; queries and passages share it."""

    def __init__(self, bert: TorchBert, *, pooling: Pooling) -> None:
        super().__init__()
        self.bert, self.pooling = bert, pooling

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return (texts, hidden) float32 vectors, not normalised."""
        return self.bert.encode(ids, lengths, pooling=self.pooling, normalize=False)


def open_body(name: str) -> Checkpoint:
    """Return the encoder or reranker called `name`: a folder, embedded, or one of a hub."""
    return load_checkpoint(resolve(name), name=name)


def open_checkpoint(name: str) -> Checkpoint:
    """Return the encoder called `name`; raise ArtifactError if it is a reranker."""
    checkpoint = open_body(name)
    checkpoint.require_encoder()
    return checkpoint


def load_tower(checkpoint: Checkpoint, *, dropout: float = 0.0) -> Tower:
    """Return a checkpoint's encoder with its weights."""
    bert = TorchBert(checkpoint.shape, dropout=dropout)
    bert.load_weights(checkpoint.load_weights())
    return Tower(bert, pooling=checkpoint.encoding.pooling)
