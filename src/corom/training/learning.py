"""What learns: the whole encoder, or only its last feed-forward block.

With [CLS] pooling the last feed-forward block sees one vector of each text. Where only that block
learns, what the rest of the encoder gives is computed once for each text and kept, and an epoch of
tens of thousands of texts takes seconds on a CPU core instead of half an hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from corom.engines.base import Engine
from corom.engines.base import Precision as EnginePrecision
from corom.engines.loading import open_body
from corom.engines.torch_bert import TorchBert
from corom.errors import InputError
from corom.evaluation.kept import Describing, KeptVectors
from corom.models.checkpoint import Checkpoint
from corom.tokens import Batch, TokenCutter, batches
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
from corom.training.loop import uses_bf16
from corom.training.progress import Counted, Report
from corom.training.run_settings import Precision
from corom.training.settings import TrainSettings
from corom.training.tower import Frozen, load_tower
from corom.vectors import Vectors

_BUDGET = 1024


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


class Body(Protocol):
    """All of an encoder but its last feed-forward block."""

    precision: EnginePrecision

    def states(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute what the block is given for the texts of every batch, in any order."""
        ...


class CpuBody:
    """The body on corom's CPU engine, by default in int8: three times as fast as fp32."""

    def __init__(self, checkpoint: Checkpoint, *, precision: Precision) -> None:
        self.precision: EnginePrecision = "int8" if precision == "auto" else precision
        self._checkpoint = checkpoint

    def states(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute what the block is given for the texts of every batch, in any order."""
        self._engine.run(batches, receive)

    @cached_property
    def _engine(self) -> Engine:
        return open_body(self._checkpoint, precision=self.precision)


class DeviceBody:
    """The body on torch's device."""

    def __init__(self, bert: TorchBert, *, device: torch.device, bf16: bool) -> None:
        self._bert = bert.to(device).eval().requires_grad_(False)
        self._device = device
        self.precision: EnginePrecision = "bf16" if bf16 else "fp32"

    def states(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute what the block is given for the texts of every batch, in any order."""
        bf16 = self.precision == "bf16"
        for batch in batches:
            ids = torch.from_numpy(batch.ids).to(self._device, torch.int64)
            with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
                found = self._bert.before_last_block(ids, torch.from_numpy(batch.lengths))
            receive(batch, found.cpu().numpy())


class KeptStates:
    """What the last block is given for each text of a run (hidden x 4 bytes of memory a text).

    The states are kept in a folder too: after a kill, only what is missing is computed.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        cutters: Cutters,
        *,
        accelerator: Accelerator,
        precision: Precision,
    ) -> None:
        if checkpoint.encoding.pooling != "cls":
            raise InputError(
                f"optimizer.trained = 'last block' needs [CLS] pooling; the model's is "
                f"{checkpoint.encoding.pooling}"
            )
        self.cutters, self.accelerator = cutters, accelerator
        bert, device = load_tower(checkpoint).bert, accelerator.device
        self._identity = _identity(bert, checkpoint)
        self._body: Body = (
            CpuBody(checkpoint, precision=precision)
            if device.type == "cpu"
            else DeviceBody(bert, device=device, bf16=uses_bf16(precision, device=device))
        )
        self._places: dict[tuple[str, int], int] = {}
        self._rows = np.empty((0, checkpoint.shape.hidden), np.float32)
        self._seen: dict[bytes, Tensor] = {}

    def fill(self, texts: Texts, folder: Path, *, report: Report | None) -> None:
        """Compute (or read) the states of all texts; the main process first, alone."""
        if not self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()
        sides = {"query": sorted(set(texts.queries)), "passage": sorted(set(texts.passages))}
        total = sum(map(len, sides.values()))
        parts: list[Vectors] = []
        done = 0
        # Sorted, so that a second stage finds the files of the first.
        for side, own in sides.items():
            for number, text in enumerate(own, start=done):
                self._places[side, text_key(text)] = number
            for part in self._kept(own, folder, side=side):
                parts.append(part)
                done += len(part)
                if report:
                    report(Counted("texts", done, total))
        self._rows = np.concatenate([self._rows, *parts])
        if self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()

    def _kept(self, texts: Sequence[str], folder: Path, *, side: str) -> Iterable[Vectors]:
        cutter = self.cutters.query if side == "query" else self.cutters.passage
        options: Describing = {
            "body": self._identity,
            "side": side,
            "length": cutter.max_length,
            "precision": self._body.precision,
        }
        return KeptVectors(folder, options).parts(texts, lambda part: self._encoded(part, cutter))

    def _encoded(self, texts: Sequence[str], cutter: TokenCutter) -> Vectors:
        tokens = [one.ids for one in cutter.cut(texts)]
        found = np.empty((len(tokens), self._rows.shape[1]), np.float32)
        self._body.states(
            batches(tokens, budget=_BUDGET, longest=cutter.max_length),
            lambda batch, states: found.__setitem__(batch.rows, states),
        )
        return found

    def __call__(self, texts: Texts) -> Chunks:
        """Return the states of a batch's texts, all in one chunk."""
        places = [self._places["query", text_key(text)] for text in texts.queries]
        places += [self._places["passage", text_key(text)] for text in texts.passages]
        rows = torch.from_numpy(self._rows[places])
        return Chunks([States(rows)], [np.arange(len(places))])

    def remembered(self, chunk: Chunk) -> Tensor:
        """Return the states of a chunk, computed when it is seen for the first time."""
        ids = chunk.ids.to("cpu", torch.int32).numpy()
        lengths = chunk.lengths.to("cpu", torch.int32).numpy()
        key = ids.tobytes() + lengths.tobytes()
        if key not in self._seen:
            found: list[Vectors] = []
            batch = Batch(np.arange(len(lengths)), ids, lengths)
            self._body.states([batch], lambda _, states: found.append(states))
            self._seen[key] = torch.from_numpy(found[0]).to(self.accelerator.device)
        return self._seen[key]


def _identity(bert: TorchBert, checkpoint: Checkpoint) -> str:
    """Return a checksum of what the states depend on: all but the last block, and the tokenizer."""
    last = f"encoder.layer.{checkpoint.shape.layers - 1}."
    trained = tuple(f"{last}{part}" for part in ("intermediate", "output"))
    digest = hashlib.sha256(checkpoint.tokenizer_json.encode())
    for name, array in sorted(bert.export_weights().items()):
        if not name.startswith(trained):
            digest.update(array.tobytes())
    return digest.hexdigest()
