"""A checkpoint as a module: what is trained, and what stays as it is for comparison."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corom.engines.torch_bert import TorchBert
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.config import Pooling
from corom.models.names import resolve
from corom.training.batches import Cutters, Texts, by_length, chunk, restored


class Tower(nn.Module):  # type: ignore[misc]
    """An encoder with its pooling; queries and passages share it."""

    def __init__(self, bert: TorchBert, *, pooling: Pooling) -> None:
        super().__init__()
        self.bert, self.pooling = bert, pooling

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return (texts, hidden) float32 vectors, not normalised."""
        return self.bert.encode(ids, lengths, pooling=self.pooling, normalize=False)


def open_checkpoint(name: str) -> Checkpoint:
    """Return the checkpoint called `name`: a folder, the embedded model, or one of a hub."""
    return load_checkpoint(resolve(name), name=name)


def load_tower(checkpoint: Checkpoint, *, dropout: float = 0.0) -> Tower:
    """Return a checkpoint's encoder with its weights."""
    bert = TorchBert(checkpoint.shape, dropout=dropout)
    bert.load_weights(checkpoint.load_weights())
    return Tower(bert, pooling=checkpoint.encoding.pooling)


class Frozen:
    """A model that is imitated and never trained."""

    def __init__(
        self, checkpoint: Checkpoint, cutters: Cutters, *, device: torch.device, bf16: bool
    ) -> None:
        self.cutters, self.device, self.bf16 = cutters, device, bf16
        self.normalize = checkpoint.encoding.normalize
        self.tower = load_tower(checkpoint).to(device).eval().requires_grad_(False)

    def vectors(self, texts: Texts, *, at_once: int) -> Tensor:
        """Return (texts, dim) vectors, queries first, `at_once` texts at a time (0: all)."""
        tokens = texts.cut(self.cutters)
        chunks = by_length(list(map(len, tokens)), at_once=at_once)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            parts = [
                self.tower(*chunk([tokens[row] for row in rows], device=self.device))
                for rows in chunks
            ]
        vectors = restored(torch.cat(parts), chunks)
        return nn.functional.normalize(vectors, dim=1) if self.normalize else vectors
