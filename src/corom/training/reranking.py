"""Training a cross-encoder: queries with passages in, a reranker's folder out.

A query and a passage are read together, and the score of the passage that answers is told from
those of the others by their softmax (Nogueira and Cho, 1901.04085; listwise as Gao, Dai and Callan,
2101.08751): negatives that an encoder ranks high teach most.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from corom.engines.torch_bert import TorchBert
from corom.errors import InputError
from corom.models.config import Encoding
from corom.models.head import Head, read_head
from corom.models.names import open_model
from corom.models.portable import Portable, write_portable
from corom.models.token_types import require_one_type, with_one_type
from corom.tokens import PairCutter
from corom.training.batches import Chunk, Chunks, States, cut_up, restored
from corom.training.card import reranker_card
from corom.training.checks import check_dev, check_length
from corom.training.dev import RerankerDev
from corom.training.drawing import RowBatches
from corom.training.frame import Finished, Run, entered, run_to_end
from corom.training.loss import info_nce
from corom.training.processes import own_share, start_accelerator
from corom.training.progress import Report
from corom.training.rows import Rows, read_rows
from corom.training.settings import RerankerSettings


class CrossEncoder(nn.Module):  # type: ignore[misc]
    """An encoder whose [CLS] vector a head turns into a score.

    A new head is the identity with a classifier of zeros: all passages score alike, and the first
    steps teach the classifier what the encoder knows.
    """

    def __init__(self, bert: TorchBert, *, dropout: float) -> None:
        super().__init__()
        hidden = bert.shape.hidden
        self.bert, self.dropout = bert, nn.Dropout(dropout)
        self.head = nn.ModuleDict({"pooler": nn.Linear(hidden, hidden)})
        self.head["classifier"] = nn.Linear(hidden, 1)
        nn.init.eye_(self.head["pooler"].weight)
        for rest in (self.head["pooler"].bias, *self.head["classifier"].parameters()):
            nn.init.zeros_(rest)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return (pairs, 1) float32 scores."""
        vectors = self.bert.encode(ids, lengths, pooling="cls", normalize=False)
        pooled = self.dropout(torch.tanh(self.head["pooler"](vectors)))
        found: Tensor = self.head["classifier"](pooled)
        return found.float()

    def load_head(self, head: Head) -> None:
        """Set the head's weights."""
        with torch.no_grad():
            for own, given in zip(self._head_tensors(), head, strict=True):
                own.copy_(torch.from_numpy(given))

    def export_head(self) -> Head:
        """Return copies of the head's weights."""
        tensors = self._head_tensors()
        return Head(*(one.detach().to("cpu", torch.float32, copy=True).numpy() for one in tensors))

    def _head_tensors(self) -> list[Tensor]:
        parts = (self.head["pooler"], self.head["classifier"])
        return [getattr(part, kind) for part in parts for kind in ("weight", "bias")]


class PairBatch(NamedTuple):
    """One process's share of a batch: b queries, each with its passages, the positive first."""

    chunks: Chunks
    passages: Tensor
    """(b,) int64: how many each query has."""


class Reranking:
    """The `Task` of training a cross-encoder on rows."""

    def __init__(self, run: Run[RerankerSettings], *, rows: Rows) -> None:
        settings, checkpoint = run.settings, run.base
        self.settings, self.accelerator = settings, run.accelerator
        self.layers = checkpoint.shape.layers
        self.cutter = PairCutter(checkpoint.tokenizer_json, max_length=settings.max_length)
        self.rows = RowBatches(rows, settings.data, settings.optimizer, seed=settings.run.seed)
        self.batches, self.per_epoch = len(self.rows), self.rows.plan.per_epoch
        bert = TorchBert(checkpoint.shape, dropout=settings.run.dropout)
        bert.load_weights(checkpoint.load_weights())
        self.model = CrossEncoder(bert, dropout=settings.run.dropout)
        if checkpoint.is_classifier:
            require_one_type(checkpoint)
            self.model.load_head(read_head(checkpoint))

    def batch(self, number: int) -> PairBatch:
        """Return this process's share of a batch."""
        drawn = self.rows.drawn(number, own_share(self.accelerator))
        sizes = [1 + len(one.negatives) for one in drawn]
        queries = [one.query for one, size in zip(drawn, sizes, strict=True) for _ in range(size)]
        passages = [text for one in drawn for text in (one.positive, *one.negatives)]
        tokens = [item.ids for item in self.cutter.cut(queries, passages)]
        chunks = cut_up(tokens, at_once=self.settings.optimizer.chunk)
        return PairBatch(chunks, torch.tensor(sizes))

    def texts(self, batch: PairBatch) -> int:
        """Return the pairs of the joint batch (of this process's share, times the processes)."""
        return int(batch.passages.sum()) * int(self.accelerator.num_processes)

    def chunks(self, batch: PairBatch) -> Sequence[Chunk | States]:
        """Return the batch's pairs, as many at once as the settings say."""
        return batch.chunks.on(self.accelerator.device)

    def encode(
        self,
        model: nn.Module,
        chunk: Chunk,
        *,
        vectors_only: bool = False,  # noqa: ARG002 - there is nothing else
    ) -> tuple[Tensor, None]:
        """Return the scores of a chunk, (pairs, 1)."""
        return model(*chunk), None

    def objective(self, vectors: Tensor, batch: PairBatch) -> Tensor:
        """Return the cross entropy of each query's positive among its own passages."""
        scores = restored(vectors, batch.chunks.order)[:, 0]
        sizes = batch.passages.to(scores.device)
        places = torch.arange(int(batch.passages.max()), device=scores.device)
        there = places[None, :] < sizes[:, None]
        table = scores.new_zeros(there.shape).masked_scatter(there, scores)
        first = torch.zeros(len(sizes), dtype=torch.int64, device=scores.device)
        return info_nce(table, first, temperature=1.0, hidden=~there)

    def vectors(self, chunk: Chunk) -> Tensor:
        """Return the scores of a chunk, (pairs, 1)."""
        found: Tensor = self.model(*chunk)
        return found


def train_reranker(settings: RerankerSettings, *, progress: Report | None = None) -> Finished:
    """Train as `settings` say and return where the finished cross-encoder lies.

    It starts from an encoder's weights, or goes on from a reranker's. Resumes, returns and raises
    as `train` does.
    """
    accelerator, base = start_accelerator(settings.run), open_model(settings.model)
    check_length(settings.max_length, base, at="max_length")
    check_dev(settings.dev)
    return entered(
        Run(settings=settings, accelerator=accelerator, base=base, report=progress),
        _train,
        data=[*settings.data.train, *([settings.dev.run] if settings.dev else [])],
    )


def _train(run: Run[RerankerSettings]) -> Finished:
    settings, dev = run.settings, None
    rows = _read(settings)
    task = Reranking(run, rows=rows)
    run.note_data(task.rows.noted(rows.report()))
    if settings.dev:
        seed, accelerator = settings.run.seed, run.accelerator
        dev = RerankerDev(settings.dev, seed=seed, accelerator=accelerator, cutter=task.cutter)
    return run_to_end(task, run, dev=dev, write=partial(_write, task, run))


def _read(settings: RerankerSettings) -> Rows:
    rows = read_rows(settings.data)
    if settings.data.fill == "none" and (alone := rows.counts["rows without negatives"]):
        raise InputError(
            f"{alone} of {len(rows.rows)} rows have no negatives, which teach a reranker nothing; "
            "mine some (corom mine), or set data.fill = 'random'"
        )
    return rows


def _write(
    task: Reranking, run: Run[RerankerSettings], folder: Path, final_dev: float | None
) -> None:
    base, length = run.base, run.settings.max_length
    weights = with_one_type(task.model.bert.export_weights())
    head, encoding = task.model.export_head(), Encoding(max_length=length)
    card = reranker_card(run.folder, base=base, max_length=length, final_dev=final_dev)
    write_portable(
        folder, Portable(base.shape, encoding, weights, base.tokenizer_json, head), card=card
    )
