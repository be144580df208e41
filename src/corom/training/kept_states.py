"""What the end of an encoder is given for each text of a run: computed once, kept in a folder.

Where only the end of an encoder learns, the rest of it gives the same for a text every time. A text
has a row for each token before the last layer, or one row before the last feed-forward block, which
with [CLS] pooling sees nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from corom.engines.base import LAYERS_OF, Engine, Part
from corom.engines.base import Precision as EnginePrecision
from corom.engines.loading import open_body
from corom.engines.torch_bert import TorchBert
from corom.errors import InputError
from corom.evaluation.kept import Describing
from corom.models.checkpoint import Checkpoint
from corom.tokens import Batch, TokenCutter, Tokens, batches
from corom.training.batches import Chunk, Chunks, Cutters, States, Texts, by_length
from corom.training.examples import text_key
from corom.training.kept_rows import KeptRows, Rows
from corom.training.processes import uses_bf16
from corom.training.progress import Counted, Report
from corom.training.run_settings import Precision
from corom.training.tower import load_tower
from corom.vectors import Vectors

_BUDGET = 1024
_SHARD = {"last two layers": 1024, "last layer": 1024, "last block": 8192}
"""Texts per kept file: 75 MB of rows, or 8."""


class Body(Protocol):
    """All of an encoder but its end."""

    precision: EnginePrecision

    def states(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute (b, rows, hidden) of every batch, in any order."""
        ...


class CpuBody:
    """The body on corom's CPU engine, by default in int8: three times as fast as fp32."""

    def __init__(self, checkpoint: Checkpoint, *, before: Part, precision: Precision) -> None:
        self.precision: EnginePrecision = "int8" if precision == "auto" else precision
        self._checkpoint, self._before = checkpoint, before

    def states(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute (b, rows, hidden) of every batch, in any order."""
        self._engine.run(batches, receive)

    @cached_property
    def _engine(self) -> Engine:
        return open_body(self._checkpoint, before=self._before, precision=self.precision)


class DeviceBody:
    """The body on torch's device."""

    def __init__(self, bert: TorchBert, *, before: Part, device: torch.device, bf16: bool) -> None:
        self._bert = bert.to(device).eval().requires_grad_(False)
        self._before, self._device = before, device
        self.precision: EnginePrecision = "bf16" if bf16 else "fp32"

    def states(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute (b, rows, hidden) of every batch, in any order."""
        bf16 = self.precision == "bf16"
        for batch in batches:
            ids = torch.from_numpy(batch.ids).to(self._device, torch.int64)
            with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
                found = self._bert.before(self._before, ids, torch.from_numpy(batch.lengths))
            receive(batch, found.cpu().numpy())


class Remembered(NamedTuple):
    """The states of a chunk, and where each of its texts went."""

    states: States
    places: NDArray[np.int64]


def check_part(part: Part, checkpoint: Checkpoint, *, at: str = "") -> None:
    """Raise InputError for a model of which this part cannot learn alone."""
    pooling, name = checkpoint.encoding.pooling, f"{at}optimizer.trained = {part!r}"
    if pooling != "cls":
        raise InputError(f"{name} needs [CLS] pooling; the model's is {pooling}")
    if checkpoint.dense:
        raise InputError(f"{name} needs a model without a Dense behind its pooling")
    if checkpoint.shape.layers < LAYERS_OF[part]:
        raise InputError(f"{name}: the model has one layer")


class KeptStates:
    """The rows of every text of a run, mapped from files (1 kB a row at 512 dimensions).

    They outlive the process: after a kill, only what is missing is computed.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        cutters: Cutters,
        *,
        before: Part,
        accelerator: Accelerator,
        precision: Precision,
        at_once: int = 0,
    ) -> None:
        check_part(before, checkpoint)
        self.cutters, self.before, self.accelerator = cutters, before, accelerator
        self._at_once, self._hidden = at_once, checkpoint.shape.hidden
        bert, device = load_tower(checkpoint).bert, accelerator.device
        self._identity = _identity(bert, checkpoint, before=before)
        self._body: Body = (
            CpuBody(checkpoint, before=before, precision=precision)
            if device.type == "cpu"
            else DeviceBody(
                bert, before=before, device=device, bf16=uses_bf16(precision, device=device)
            )
        )
        self._numbers: dict[tuple[str, int], int] = {}
        self._rows: list[Rows] = []
        self._seen: dict[bytes, Remembered] = {}

    def fill(self, texts: Texts, folder: Path, *, report: Report | None) -> None:
        """Compute the states of all texts that `folder` lacks; the main process first, alone."""
        if not self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()
        sides = {"query": sorted(set(texts.queries)), "passage": sorted(set(texts.passages))}
        total = sum(map(len, sides.values()))
        for side, own in sides.items():
            kept = KeptRows(folder, self._options(side))
            lacking = [text for text in own if text not in kept]
            done = len(self) + len(own) - len(lacking)
            for at in range(0, len(lacking), _SHARD[self.before]):
                part = lacking[at : at + _SHARD[self.before]]
                kept.add(part, *self._encoded(part, self._cutter(side)))
                if report:
                    report(Counted("texts", done + at + len(part), total))
            # Texts that differ by outer blanks share a key, but each has a number.
            self._numbers |= {(side, text_key(text)): len(self) + n for n, text in enumerate(own)}
            self._rows += [kept[text] for text in own]
        if self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()

    def _options(self, side: str) -> Describing:
        cutter = self._cutter(side)
        return {
            "body": self._identity,
            "before": self.before,
            "side": side,
            # prefix and suffix, as tokens
            "around": " ".join(map(str, cutter.cut([""])[0].ids)),
            "length": cutter.max_length,
            "precision": self._body.precision,
        }

    def _cutter(self, side: str) -> TokenCutter:
        return self.cutters.query if side == "query" else self.cutters.passage

    def _lengths(self, tokens: Sequence[Tokens]) -> NDArray[np.int64]:
        """Return how many rows each text has."""
        each = [1 if self.before == "last block" else len(one.ids) for one in tokens]
        return np.array(each, np.int64)

    def _encoded(self, texts: Sequence[str], cutter: TokenCutter) -> tuple[NDArray[np.int64], Rows]:
        """Return how many rows each text has, and the rows."""
        tokens = cutter.cut(texts)
        lengths = self._lengths(tokens)
        stops = np.cumsum(lengths)
        found = np.empty((int(stops[-1]), self._hidden), np.float16)

        def receive(batch: Batch, states: Vectors) -> None:
            for row, own in zip(batch.rows, states, strict=True):
                found[stops[row] - lengths[row] : stops[row]] = own[: lengths[row]]

        ids = [one.ids for one in tokens]
        self._body.states(batches(ids, budget=_BUDGET, longest=cutter.max_length), receive)
        return lengths, found

    def __len__(self) -> int:
        return len(self._rows)

    def numbers(self, texts: Texts) -> list[int]:
        """Return the number of each text, queries first; a text that was not kept is a KeyError."""
        found = [self._numbers["query", text_key(text)] for text in texts.queries]
        return found + [self._numbers["passage", text_key(text)] for text in texts.passages]

    def __call__(self, texts: Texts) -> Chunks:
        """Return the states of a batch's texts."""
        own = [self._rows[number] for number in self.numbers(texts)]
        order = by_length(list(map(len, own)), at_once=self._at_once)
        return Chunks([_joined([own[n] for n in numbers]) for numbers in order], order)

    def each(self, *, at_once: int) -> Iterator[tuple[NDArray[np.int64], States]]:
        """Yield the states of all texts, so many texts at a time, with the texts' numbers."""
        for numbers in by_length(list(map(len, self._rows)), at_once=at_once):
            yield numbers, _joined([self._rows[number] for number in numbers])

    def remembered(self, chunk: Chunk) -> Remembered:
        """Return the states of a chunk, computed when it is seen for the first time."""
        ids = chunk.ids.to("cpu", torch.int32).numpy()
        lengths = chunk.lengths.to("cpu", torch.int32).numpy()
        key = ids.tobytes() + lengths.tobytes()
        if key not in self._seen:
            found: list[Vectors] = []
            batch = Batch(np.arange(len(lengths)), ids, lengths)
            self._body.states([batch], lambda _, states: found.append(states))
            counts = np.ones_like(lengths) if self.before == "last block" else lengths
            (order,) = by_length(counts.tolist(), at_once=0)
            rows = np.concatenate([found[0][row, : counts[row]] for row in order])
            states = States(
                torch.from_numpy(rows.astype(np.float16)), torch.from_numpy(counts[order])
            )
            self._seen[key] = Remembered(states, np.argsort(order))
        return self._seen[key]


def _joined(texts: Sequence[Rows]) -> States:
    lengths = torch.tensor([len(rows) for rows in texts])
    return States(torch.from_numpy(np.concatenate(texts)), lengths)


def _identity(bert: TorchBert, checkpoint: Checkpoint, *, before: Part) -> str:
    """Return a checksum of what the states depend on: shape, tokenizer, all weights but the part's.

    The shape says what weights do not: how many heads share them, what a norm adds.
    """
    layers = checkpoint.shape.layers
    last = [f"encoder.layer.{layers - 1 - below}." for below in range(LAYERS_OF[before])]
    block = [f"{last[0]}{part}" for part in ("intermediate", "output")]
    trained = tuple(block if before == "last block" else last)
    shape = json.dumps(asdict(checkpoint.shape), sort_keys=True)
    digest = hashlib.sha256(f"{shape}\n{checkpoint.tokenizer_json}".encode())
    for name, array in sorted(bert.export_weights().items()):
        if not name.startswith(trained):
            digest.update(array.tobytes())
    return digest.hexdigest()
