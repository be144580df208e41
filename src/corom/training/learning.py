"""What learns: the whole encoder, or only its end.

With [CLS] pooling the last layer gives one row of each text, at little cost once the rows it is
given are kept: an epoch of tens of thousands of texts takes a minute on two CPU cores instead of an
hour.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor, nn

from corom.engines.base import LAYERS_OF, Part
from corom.engines.packing import pack
from corom.engines.torch_bert import TorchBert
from corom.errors import InputError
from corom.models.checkpoint import Checkpoint
from corom.training.batches import Chunk, Cutters, Feed, TokenFeed, TrainBatch
from corom.training.frozen import Frozen
from corom.training.kept_states import KeptStates
from corom.training.processes import uses_bf16
from corom.training.settings import TrainSettings
from corom.training.tower import load_tower

_AT_ONCE = 256
_BLOCK = 2048
"""Tokens that attention looks at together: what is made of them stays in a core's cache."""


class Learner(Protocol):
    """A module that learns, how texts reach it, and what it gave before it learned."""

    model: nn.Module
    feed: Feed

    def whole(self, chunk: Chunk) -> Tensor:
        """Return the vectors of texts that are no part of the training data."""
        ...

    def base_vectors(self, batch: TrainBatch) -> Tensor | None:
        """Return the vectors of a batch's texts before training, where the loss asks for them."""
        ...


class WholeEncoder:
    """Every weight learns; texts come as tokens."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: TrainSettings,
        *,
        cutters: Cutters,
        base: Frozen | None,
    ) -> None:
        self.model = load_tower(checkpoint, dropout=settings.run.dropout)
        self.feed: Feed = TokenFeed(cutters, settings.optimizer.chunk)
        self._base, self._at_once = base, settings.optimizer.chunk

    def whole(self, chunk: Chunk) -> Tensor:
        """Return the vectors of any texts."""
        found: Tensor = self.model(*chunk)
        return found

    def base_vectors(self, batch: TrainBatch) -> Tensor | None:
        """Return the vectors of a batch's texts before training, where the loss asks for them."""
        return self._base.vectors(batch.texts, at_once=self._at_once) if self._base else None


class End(nn.Module):  # type: ignore[misc]
    """The last layer or two of a [CLS] encoder, or the last feed-forward block; the rest stays."""

    def __init__(self, bert: TorchBert, part: Part) -> None:
        super().__init__()
        self.bert, self.part = bert.requires_grad_(False), part
        last = bert.layers[-1]
        block = (last.inner, last.outer, last.outer_norm)
        for piece in block if part == "last block" else bert.layers[-LAYERS_OF[part] :]:
            piece.requires_grad_(True)

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Return (texts, hidden) float32 vectors of what `KeptStates` gives."""
        *below, last = self.bert.layers[-LAYERS_OF[self.part] :]
        if self.part == "last block":
            vectors: Tensor = last.feed_forward(rows.float())
            return vectors.float()
        if (lengths.diff() > 0).any():
            # Packing would take one text's rows for another's.
            raise InputError("states must come with the text of most rows first")
        packing = pack(lengths, width=int(lengths.max()), device=rows.device, most=_BLOCK)
        for layer in below:
            rows = layer(rows.float(), packing)
        return last(rows, packing, first_only=True).float()


class LastPart:
    """Only the end of the encoder learns, from kept states; [CLS] pooling only."""

    def __init__(
        self, checkpoint: Checkpoint, settings: TrainSettings, *, states: KeptStates
    ) -> None:
        bert = load_tower(checkpoint, dropout=settings.run.dropout).bert
        self.model, self.states = End(bert, states.before), states
        self.feed: Feed = states
        self._base = None
        if settings.loss.base_weight:
            device = states.accelerator.device
            bf16 = uses_bf16(settings.run.precision, device=device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                self._base = self._vectors(device, normalize=checkpoint.encoding.normalize)

    def _vectors(self, device: torch.device, *, normalize: bool) -> Tensor:
        """Return (texts, hidden) float16 vectors of all kept texts before training."""
        model = deepcopy(self.model).to(device).eval()
        vectors = torch.empty(len(self.states), model.bert.shape.hidden, dtype=torch.float16)
        with torch.no_grad():
            for numbers, states in self.states.each(at_once=_AT_ONCE):
                found = model(*states.on(device))
                found = nn.functional.normalize(found, dim=1) if normalize else found
                vectors[torch.from_numpy(numbers)] = found.half().cpu()
        return vectors

    def whole(self, chunk: Chunk) -> Tensor:
        """Return the vectors of any texts; their states are remembered."""
        states, places = self.states.remembered(chunk)
        found: Tensor = self.model(*states.on(chunk.ids.device))
        return found[torch.from_numpy(places)]

    def base_vectors(self, batch: TrainBatch) -> Tensor | None:
        """Return the vectors of a batch's texts before training, where the loss asks for them."""
        if self._base is None:
            return None
        rows = self._base[self.states.numbers(batch.texts)]
        return rows.to(self.states.accelerator.device, torch.float32)
