"""Contrastive fine-tuning: groups in, a model folder out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corom.errors import InputError
from corom.models.checkpoint import Checkpoint
from corom.reranker import Reranker
from corom.training.batches import (
    Chunk,
    States,
    Texts,
    TrainBatch,
    make_batch,
    make_cutters,
    restored,
)
from corom.training.checks import check_shared, check_training
from corom.training.drawing import RowBatches
from corom.training.examples import GradedRow
from corom.training.frame import Finished, Run, entered, open_dev, run_to_end, write_encoder
from corom.training.frozen import Frozen, PairScores
from corom.training.kept_states import KeptStates
from corom.training.learning import LastPart, Learner, WholeEncoder
from corom.training.objective import Objective
from corom.training.plan import graded_batches
from corom.training.processes import own_share, start_accelerator, uses_bf16
from corom.training.progress import Report
from corom.training.rows import Rows, read_graded, read_rows
from corom.training.settings import DataSettings, LossSettings, TrainSettings
from corom.training.topics import query_topics
from corom.training.tower import open_checkpoint


class FineTuning:
    """The `Task` of fine-tuning a checkpoint on rows."""

    def __init__(self, run: Run[TrainSettings], *, rows: Rows, graded: Sequence[GradedRow]) -> None:
        settings, checkpoint, accelerator = run.settings, run.base, run.accelerator
        data, loss = settings.data, settings.loss
        self.run, self.settings, self.accelerator = run, settings, accelerator
        self.rows, self.graded = rows, graded
        self.layers = checkpoint.shape.layers
        lengths = {"query_length": data.query_length, "passage_length": data.passage_length}
        self.cutters = make_cutters(checkpoint, **lengths)
        bf16 = uses_bf16(settings.run.precision, device=accelerator.device)

        def frozen(one: Checkpoint) -> Frozen:
            cutters = make_cutters(one, **lengths)
            return Frozen(one, cutters, device=accelerator.device, bf16=bf16)

        compared = loss.base_weight > 0 and settings.optimizer.trained == "all"
        start = frozen(checkpoint) if data.topics or compared else None
        topics = None
        if start and data.topics:
            topics = query_topics(run, [row.query for row in rows.rows], model=start)
        seed = settings.run.seed
        self.drawing = RowBatches(rows, data, settings.optimizer, seed=seed, topics=topics)
        self.batches, self.per_epoch = len(self.drawing), self.drawing.plan.per_epoch
        self.teachers = [frozen(open_checkpoint(one)) for one in loss.teachers]
        self.reranker: PairScores | None = None
        if loss.reranker:
            self.reranker = PairScores(_load_reranker(loss, accelerator.device))
        self.learner = self._learner(start if compared else None)
        self.model = self.learner.model
        self.judge = Objective(loss, accelerator=accelerator)

    def _learner(self, base: Frozen | None) -> Learner:
        checkpoint, optimizer = self.run.base, self.settings.optimizer
        if optimizer.trained == "all":
            return WholeEncoder(checkpoint, self.settings, cutters=self.cutters, base=base)
        states = KeptStates(
            checkpoint,
            self.cutters,
            before=optimizer.trained,
            accelerator=self.accelerator,
            precision=self.settings.run.precision,
            at_once=optimizer.chunk,
        )
        states.fill(self._texts(), self.settings.kept_states, report=self.run.report)
        return LastPart(checkpoint, self.settings, states=states)

    def _texts(self) -> Texts:
        """Return every text that a batch of the run may hold."""
        rows = [self.rows.rows[number] for number in np.unique(self.drawing.plan.rows)]
        passages = [text for row in rows for text in (*row.positives, *row.negatives)]
        if self.settings.data.fill == "random":
            passages += self.rows.pool
        queries = [row.query for row in rows]
        queries += [text for pair in self.graded for text in (pair.left, pair.right)]
        return Texts(tuple(queries), tuple(passages))

    def batch(self, number: int) -> TrainBatch:
        """Return this process's share of a batch."""
        share = own_share(self.accelerator)
        return make_batch(
            self.drawing.drawn(number, share),
            self.drawing.answers(number, share),
            negatives=self.settings.data.negatives,
            feed=self.learner.feed,
            graded=self._graded(number)[share],
        )

    def _graded(self, number: int) -> list[GradedRow]:
        if not self.graded:
            return []
        epoch, place = divmod(number, len(self._graded_epoch(0)))
        return [self.graded[row] for row in self._graded_epoch(epoch)[place]]

    @lru_cache(maxsize=2)  # noqa: B019 - a task lives as long as its run
    def _graded_epoch(self, epoch: int) -> NDArray[np.int64]:
        return graded_batches(
            [pair.source for pair in self.graded],
            size=self.settings.data.graded_batch,
            seed=self.settings.run.seed,
            epoch=epoch,
        )

    def texts(self, batch: TrainBatch) -> int:
        """Return the texts of the joint batch (of this process's share, times the processes)."""
        return sum(map(len, batch.texts)) * int(self.accelerator.num_processes)

    def chunks(self, batch: TrainBatch) -> list[Chunk | States]:
        """Return the batch's texts, as many at once as the settings say."""
        return batch.chunks.on(self.accelerator.device)

    def encode(
        self,
        model: nn.Module,
        chunk: Chunk | States,
        *,
        vectors_only: bool = False,  # noqa: ARG002 - there is nothing else
    ) -> tuple[Tensor, None]:
        """Return the vectors of a chunk."""
        return model(*chunk), None

    def objective(self, vectors: Tensor, batch: TrainBatch) -> Tensor:
        """Return the loss of the joint batch."""
        at_once, device = self.settings.optimizer.chunk, self.accelerator.device
        vectors = restored(vectors, batch.chunks.order)
        return self.judge(
            vectors,
            batch.on(device),
            reranked=self.reranker.of(batch).to(device) if self.reranker else None,
            teachers=[one.vectors(batch.texts, at_once=at_once) for one in self.teachers],
            base=self.learner.base_vectors(batch),
        )

    def vectors(self, chunk: Chunk) -> Tensor:
        """Return the vectors of a chunk as the finished model will give them."""
        found = self.learner.whole(chunk)
        cosine = self.settings.loss.similarity == "cosine"
        return nn.functional.normalize(found, dim=1) if cosine else found


def train(settings: TrainSettings, *, progress: Report | None = None) -> Finished:
    """Train as `settings` say and return where the finished model lies and how it did.

    Entering the same run again resumes it from its newest checkpoint, or returns at once when it
    is finished. Under `torchrun` or `accelerate launch` all processes share the work. Raises
    InputError for settings or data that cannot be used, TrainingError when the loss breaks.
    """
    data, loss, accelerator = settings.data, settings.loss, start_accelerator(settings.run)
    base = _prefixed(open_checkpoint(settings.model), data)
    check_training(settings, base)
    if data.graded:
        batch, processes = data.graded_batch, accelerator.num_processes
        check_shared(batch, at="data.graded_batch", processes=processes)
    return entered(
        Run(settings=settings, accelerator=accelerator, base=base, report=progress),
        _train,
        models=[*loss.teachers, *filter(None, [loss.reranker])],
        data=[*data.train, *data.graded],
    )


def _load_reranker(chosen: LossSettings, device: torch.device) -> Reranker:
    threads = torch.get_num_threads() if device.type == "cpu" else None
    precision = chosen.reranker_precision
    return Reranker.load(chosen.reranker, precision=precision, device=str(device), threads=threads)


def _prefixed(checkpoint: Checkpoint, data: DataSettings) -> Checkpoint:
    """Return the checkpoint with the prefixes that are asked for."""
    own, query, passage = checkpoint.encoding, data.query_prefix, data.passage_prefix
    encoding = replace(
        own,
        query_prefix=own.query_prefix if query is None else query,
        passage_prefix=own.passage_prefix if passage is None else passage,
    )
    return replace(checkpoint, encoding=encoding)


def _train(run: Run[TrainSettings]) -> Finished:
    settings, own = run.settings, run.base.encoding
    rows, graded, noted = _read(settings.data)
    run.note_data(noted)
    task = FineTuning(run, rows=rows, graded=graded)
    reads = max(settings.data.query_length, settings.data.passage_length)
    noted["tokens read"] = {"before": own.max_length, "now": reads}
    run.note_data(task.drawing.noted(noted))
    encoding = replace(own, normalize=settings.loss.similarity == "cosine", max_length=reads)
    dev = open_dev(run, task.cutters)
    return run_to_end(task, run, dev=dev, write=partial(write_encoder, task, run, encoding))


def _read(data: DataSettings) -> tuple[Rows, list[GradedRow], dict[str, Any]]:
    """Return the rows, the graded pairs, and what is to be said of both."""
    rows = read_rows(data)
    graded, left_out = read_graded(data)
    sizes = Counter(pair.source for pair in graded)
    if data.graded and max(sizes.values(), default=0) < data.graded_batch:
        raise InputError(f"{len(graded)} graded pairs: no source fills data.graded_batch")
    small = {name: size for name, size in sizes.items() if size < data.graded_batch}
    report = rows.report()
    report |= {"graded pairs": len(graded), "graded pairs left out": left_out.counts}
    report |= {"graded pairs of sources below a batch, never used": small}
    return rows, graded, report
