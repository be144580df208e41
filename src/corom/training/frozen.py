"""Models that stay as they are beside the one that learns: its base, a teacher, a reranker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from corom.engines.base import encoded
from corom.engines.loading import open_engine
from corom.engines.processor import has_bf16
from corom.models.checkpoint import Checkpoint
from corom.reranker import Reranker
from corom.tokens import TokenIds
from corom.training.batches import Cutters, Texts, TrainBatch, cut_up, restored
from corom.training.loss import EMPTY
from corom.training.tower import load_tower


class Model(Protocol):
    """Tokens in, vectors out, not normalised."""

    def vectors(self, tokens: Sequence[TokenIds], *, at_once: int) -> Tensor:
        """Return the (texts, dim) float32 vectors, `at_once` texts at a time (0: all)."""
        ...


class CpuModel:
    """A model on corom's CPU engine: 1.3 to 3 times as fast as torch, most for many texts at once.

    The engine makes its own batches, so it does not ask how many texts may be computed at once.
    Where the chip has no fast bf16, fp32 is exact and faster: taken even when training is in bf16.
    """

    def __init__(self, checkpoint: Checkpoint, *, bf16: bool) -> None:
        self._engine = open_engine(
            checkpoint,
            engine="openvino",
            precision="bf16" if bf16 and has_bf16() else "fp32",
            threads=torch.get_num_threads(),
        )
        self._longest = checkpoint.shape.positions

    def vectors(self, tokens: Sequence[TokenIds], *, at_once: int) -> Tensor:  # noqa: ARG002
        """Return the (texts, dim) float32 vectors."""
        return torch.from_numpy(encoded(self._engine, tokens, longest=self._longest))


class DeviceModel:
    """A model on torch's device."""

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device, bf16: bool) -> None:
        self._device, self._bf16 = device, bf16
        self._tower = load_tower(checkpoint).to(device).eval().requires_grad_(False)

    def vectors(self, tokens: Sequence[TokenIds], *, at_once: int) -> Tensor:
        """Return the (texts, dim) float32 vectors, `at_once` texts at a time (0: all)."""
        parts, order = cut_up(tokens, at_once=at_once)
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            found = [self._tower(*part.on(self._device)) for part in parts]
        return restored(torch.cat(found), order)


class Frozen:
    """A model that is imitated and never trained: it gives each text the same vector every time.

    So a text is computed once and its vector kept on the device: 2 kB a text at 512 dimensions. Its
    last bits depend on the texts it came with first, so that a resumed run's may differ in them.
    """

    def __init__(
        self, checkpoint: Checkpoint, cutters: Cutters, *, device: torch.device, bf16: bool
    ) -> None:
        self.cutters, self.device = cutters, device
        self.normalize = checkpoint.encoding.normalize
        self.model: Model = (
            CpuModel(checkpoint, bf16=bf16)
            if device.type == "cpu"
            else DeviceModel(checkpoint, device=device, bf16=bf16)
        )
        self._kept = torch.empty(0, checkpoint.dim, device=device)
        self._places: tuple[dict[str, int], dict[str, int]] = ({}, {})

    def vectors(self, texts: Texts, *, at_once: int) -> Tensor:
        """Return (texts, dim) vectors, queries first, `at_once` new texts at a time (0: all)."""
        sides = list(zip(self._places, texts, strict=True))
        new = [[text for text in dict.fromkeys(own) if text not in known] for known, own in sides]
        if any(new):
            fresh = Texts(*map(tuple, new))
            vectors = self.model.vectors(fresh.cut(self.cutters), at_once=at_once)
            if self.normalize:
                vectors = nn.functional.normalize(vectors, dim=1)
            self._keep(fresh, vectors)
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


class PairScores:
    """Scores of queries with their own passages; a pair is read once, its score kept (200 bytes).

    Mined negatives come again every epoch, so that from the second on nothing is left to read.
    """

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self._known: dict[tuple[int, int], float] = {}

    def of(self, batch: TrainBatch) -> Tensor:
        """Return the score of each query's passages, (b, s) float32; 0 where a slot is empty."""
        queries = batch.query_keys.tolist()
        places = [
            (row, slot, (queries[row], key))
            for row, keys in enumerate(batch.passage_keys.tolist())
            for slot, key in enumerate(keys)
            if key != EMPTY
        ]
        unread: dict[tuple[int, int], tuple[str, str]] = {}
        for (row, _, pair), passage in zip(places, batch.texts.passages, strict=True):
            if pair not in self._known:
                unread[pair] = batch.texts.queries[row], passage
        scores = self._reranker.score(
            [query for query, _ in unread.values()], [passage for _, passage in unread.values()]
        )
        self._known |= dict(zip(unread, scores.tolist(), strict=True))
        found = torch.zeros(batch.passage_keys.shape)
        for row, slot, pair in places:
            found[row, slot] = self._known[pair]
        return found
