"""What learns: the whole encoder, or only its last feed-forward block.

With [CLS] pooling the last feed-forward block sees one vector of each text. Where only that block
learns, what the rest of the encoder gives is computed once for each text and kept, and an epoch of
tens of thousands of texts takes seconds on a CPU core instead of half an hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from corom.engines.torch_bert import TorchBert
from corom.errors import InputError
from corom.evaluation.kept import Describing, KeptVectors
from corom.models.checkpoint import Checkpoint
from corom.tokens import TokenCutter, batches
from corom.training.batches import (
    Chunk,
    Chunks,
    Cutters,
    Feed,
    States,
    Texts,
    TokenFeed,
    TrainBatch,
)
from corom.training.examples import text_key
from corom.training.progress import Counted, Report
from corom.training.settings import TrainSettings
from corom.training.tower import Frozen, load_tower
from corom.vectors import Vectors

_BUDGET = 16_384


class Learner(Protocol):
    """A module that learns, how texts reach it, and what it gave before it learned."""

    model: nn.Module
    feed: Feed

    def whole(self, chunk: Chunk) -> Tensor:
        """Return the vectors of texts that are no part of the training data."""
        ...

    def base_vectors(self, batch: TrainBatch) -> Tensor:
        """Return the vectors of a batch's texts before training."""
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

    def base_vectors(self, batch: TrainBatch) -> Tensor:
        """Return the vectors of a batch's texts before training."""
        if self._base is None:
            raise InputError("loss.base_weight is 0: the base was not kept")
        return self._base.vectors(batch.texts, at_once=self._at_once)


class Block(nn.Module):  # type: ignore[misc]
    """The last feed-forward block of an encoder; the rest of it stays as it is."""

    def __init__(self, bert: TorchBert) -> None:
        super().__init__()
        self.bert = bert.requires_grad_(False)
        last = bert.layers[-1]
        for part in (last.inner, last.outer, last.outer_norm):
            part.requires_grad_(True)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (texts, hidden) float32 vectors of what `before_last_block` gave."""
        found: Tensor = self.bert.layers[-1].feed_forward(rows).float()
        return found


class LastBlock:
    """Only the last feed-forward block learns, from kept states; [CLS] pooling only."""

    def __init__(
        self, checkpoint: Checkpoint, settings: TrainSettings, *, states: KeptStates
    ) -> None:
        bert = load_tower(checkpoint, dropout=settings.run.dropout).bert
        self.model, self.states = Block(bert), states
        self.feed: Feed = states
        device = states.accelerator.device
        self._base = deepcopy(bert.layers[-1]).to(device).eval().requires_grad_(False)
        self._normalize = checkpoint.encoding.normalize

    def whole(self, chunk: Chunk) -> Tensor:
        """Return the vectors of any texts; their states are remembered."""
        found: Tensor = self.model(self.states.remembered(chunk))
        return found

    def base_vectors(self, batch: TrainBatch) -> Tensor:
        """Return the vectors of a batch's texts before training."""
        parts = batch.chunks.on(self.states.accelerator.device)
        rows = torch.cat([part.rows for part in parts if isinstance(part, States)])
        vectors = self._base.feed_forward(rows).float()
        return nn.functional.normalize(vectors, dim=1) if self._normalize else vectors


class KeptStates:
    """What the last block is given for each text of a run (hidden x 4 bytes of memory a text).

    The states are kept in a folder too: after a kill, only what is missing is computed.
    """

    def __init__(
        self, checkpoint: Checkpoint, cutters: Cutters, *, accelerator: Accelerator, bf16: bool
    ) -> None:
        if checkpoint.encoding.pooling != "cls":
            raise InputError(
                f"optimizer.trained = 'last block' needs [CLS] pooling; the model's is "
                f"{checkpoint.encoding.pooling}"
            )
        self.cutters, self.accelerator, self.bf16 = cutters, accelerator, bf16
        bert = load_tower(checkpoint).bert.to(accelerator.device).eval().requires_grad_(False)
        self._bert, self._body = bert, _body(bert, checkpoint)
        self._places: dict[tuple[str, int], int] = {}
        self._rows = np.empty((0, checkpoint.shape.hidden), np.float32)
        self._seen: dict[bytes, Tensor] = {}

    def fill(self, texts: Texts, folder: Path, *, report: Report | None) -> None:
        """Compute (or read) the states of all texts; the main process first, alone."""
        if not self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()
        total = len(set(texts.queries)) + len(set(texts.passages))
        parts: list[Vectors] = []
        done = 0
        sides = (("query", texts.queries, self.cutters.query),)
        for side, own, cutter in (*sides, ("passage", texts.passages, self.cutters.passage)):
            # Sorted, so that a second stage finds the files of the first.
            distinct = sorted(set(own))
            for number, text in enumerate(distinct, start=done):
                self._places[side, text_key(text)] = number
            for part in self._kept(distinct, cutter, folder, side=side):
                parts.append(part)
                done += len(part)
                if report:
                    report(Counted("texts", done, total))
        self._rows = np.concatenate([self._rows, *parts])
        if self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()

    def _kept(
        self, texts: Sequence[str], cutter: TokenCutter, folder: Path, *, side: str
    ) -> Iterable[Vectors]:
        options: Describing = {
            "states": self._body,
            "side": side,
            "length": cutter.max_length,
            "bf16": self.bf16,
        }
        return KeptVectors(folder, options).parts(texts, lambda part: self._encoded(part, cutter))

    def _encoded(self, texts: Sequence[str], cutter: TokenCutter) -> Vectors:
        tokens = [one.ids for one in cutter.cut(texts)]
        found = np.empty((len(tokens), self._rows.shape[1]), np.float32)
        for batch in batches(tokens, budget=_BUDGET):
            ids = torch.from_numpy(batch.ids).to(self.accelerator.device, torch.int64)
            states = self._states(Chunk(ids, torch.from_numpy(batch.lengths)))
            found[batch.rows] = states.cpu().numpy()
        return found

    def _states(self, chunk: Chunk) -> Tensor:
        device = self.accelerator.device.type
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=self.bf16):
            return self._bert.before_last_block(*chunk)

    def __call__(self, texts: Texts) -> Chunks:
        """Return the states of a batch's texts, all in one chunk."""
        places = [self._places["query", text_key(text)] for text in texts.queries]
        places += [self._places["passage", text_key(text)] for text in texts.passages]
        rows = torch.from_numpy(self._rows[places])
        return Chunks([States(rows)], [np.arange(len(places))])

    def remembered(self, chunk: Chunk) -> Tensor:
        """Return the states of a chunk, computed when it is seen for the first time."""
        key = chunk.ids.cpu().numpy().tobytes() + chunk.lengths.numpy().tobytes()
        if key not in self._seen:
            self._seen[key] = self._states(chunk)
        return self._seen[key]


def _body(bert: TorchBert, checkpoint: Checkpoint) -> str:
    """Return a checksum of what the states depend on: all but the last block, and the tokenizer."""
    last = f"encoder.layer.{checkpoint.shape.layers - 1}."
    trained = tuple(f"{last}{part}" for part in ("intermediate", "output"))
    digest = hashlib.sha256(checkpoint.tokenizer_json.encode())
    for name, array in sorted(bert.export_weights().items()):
        if not name.startswith(trained):
            digest.update(array.tobytes())
    return digest.hexdigest()
