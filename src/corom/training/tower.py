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
    """A model that is imitated and never trained: it gives each text the same vector every time.

    So a text is computed once and its vector kept on the device: 2 kB a text at 512 dimensions.
    """

    def __init__(
        self, checkpoint: Checkpoint, cutters: Cutters, *, device: torch.device, bf16: bool
    ) -> None:
        self.cutters, self.device, self.bf16 = cutters, device, bf16
        self.normalize = checkpoint.encoding.normalize
        self.tower = load_tower(checkpoint).to(device).eval().requires_grad_(False)
        self._kept = torch.empty(0, checkpoint.shape.hidden, device=device)
        self._places: tuple[dict[str, int], dict[str, int]] = ({}, {})

    def vectors(self, texts: Texts, *, at_once: int) -> Tensor:
        """Return (texts, dim) vectors, queries first, `at_once` new texts at a time (0: all)."""
        sides = list(zip(self._places, texts, strict=True))
        new = [[text for text in dict.fromkeys(own) if text not in known] for known, own in sides]
        if any(new):
            fresh = Texts(*map(tuple, new))
            self._keep(fresh, self._computed(fresh, at_once=at_once))
        rows = [known[text] for known, own in sides for text in own]
        return self._kept.index_select(0, torch.tensor(rows, dtype=torch.int64, device=self.device))

    def _keep(self, texts: Texts, vectors: Tensor) -> None:
        known, wanted = sum(map(len, self._places)), sum(map(len, texts))
        if known + wanted > len(self._kept):
            # Twice the room each time: copied so a few times in a run, not at every step.
            room = self._kept.new_empty(max(known, wanted) + wanted, self._kept.shape[1])
            self._kept = torch.cat([self._kept[:known], room])
        self._kept[known : known + wanted] = vectors
        for side, places in zip(texts, self._places, strict=True):
            places |= {text: known + number for number, text in enumerate(side)}
            known += len(side)

    def _computed(self, texts: Texts, *, at_once: int) -> Tensor:
        tokens = texts.cut(self.cutters)
        chunks = by_length(list(map(len, tokens)), at_once=at_once)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            parts = [
                self.tower(*chunk([tokens[row] for row in rows], device=self.device))
                for rows in chunks
            ]
        vectors = restored(torch.cat(parts), chunks)
        return nn.functional.normalize(vectors, dim=1) if self.normalize else vectors
