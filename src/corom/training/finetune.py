"""Contrastive fine-tuning: groups in, a model folder out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from corom.errors import InputError
from corom.files import write_json
from corom.models.checkpoint import Checkpoint
from corom.models.names import open_model
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
from corom.training.checks import check_training
from corom.training.drawing import RowBatches
from corom.training.examples import GradedRow
from corom.training.frame import Finished, read_finished, run_to_end
from corom.training.frozen import Frozen
from corom.training.kept_states import KeptStates
from corom.training.learning import LastPart, Learner, WholeEncoder
from corom.training.loop import held, start_accelerator, uses_bf16
from corom.training.objective import Objective
from corom.training.pair_scores import PairScores
from corom.training.plan import graded_batches
from corom.training.progress import Report
from corom.training.provenance import begin, checksums
from corom.training.rows import Rows, read_graded, read_rows
from corom.training.settings import DataSettings, LossSettings, TrainSettings
from corom.training.topics import Topics, query_topics
from corom.training.tower import open_checkpoint


class FineTuning:
    """The `Task` of fine-tuning a checkpoint on rows."""

    def __init__(
        self,
        settings: TrainSettings,
        checkpoint: Checkpoint,
        *,
        rows: Rows,
        graded: Sequence[GradedRow],
        accelerator: Accelerator,
        report: Report | None = None,
    ) -> None:
        data, optimizer = settings.data, settings.optimizer
        self.settings, self.accelerator = settings, accelerator
        self.rows, self.graded = rows, graded
        self.layers = checkpoint.shape.layers
        lengths = {"query_length": data.query_length, "passage_length": data.passage_length}
        self.cutters = make_cutters(checkpoint, **lengths)
        bf16 = uses_bf16(settings.run.precision, device=accelerator.device)

        def frozen(one: Checkpoint) -> Frozen:
            cutters = make_cutters(one, **lengths)
            return Frozen(one, cutters, device=accelerator.device, bf16=bf16)

        compared = settings.loss.base_weight > 0 and optimizer.trained == "all"
        start = frozen(checkpoint) if data.topics or compared else None
        topics = self._topics(start) if start and data.topics else None
        self.drawing = RowBatches(rows, data, optimizer, seed=settings.run.seed, topics=topics)
        self.batches, self.per_epoch = len(self.drawing), self.drawing.plan.per_epoch
        self.teachers = [frozen(open_checkpoint(one)) for one in settings.loss.teachers]
        self.reranker: PairScores | None = None
        if settings.loss.reranker:
            self.reranker = PairScores(_load_reranker(settings.loss, accelerator.device))
        self.learner: Learner
        if optimizer.trained != "all":
            states = KeptStates(
                checkpoint,
                self.cutters,
                before=optimizer.trained,
                accelerator=accelerator,
                precision=settings.run.precision,
                at_once=optimizer.chunk,
            )
            states.fill(self._texts(), settings.kept_states, report=report)
            self.learner = LastPart(checkpoint, settings, states=states)
        else:
            self.learner = WholeEncoder(checkpoint, settings, cutters=self.cutters, base=start)
        self.model = self.learner.model
        self.judge = Objective(settings.loss, accelerator=accelerator)

    def _topics(self, start: Frozen) -> Topics:
        return query_topics(
            [row.query for row in self.rows.rows],
            start,
            count=self.settings.data.topics,
            seed=self.settings.run.seed,
            folder=Path(self.settings.output),
            accelerator=self.accelerator,
        )

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
        share = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
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
            base=self.learner.base_vectors(batch) if self.settings.loss.base_weight else None,
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
    folder, accelerator = Path(settings.output), start_accelerator(settings.run)
    checkpoint = _prefixed(open_checkpoint(settings.model), settings.data)
    _check_shares(settings, processes=accelerator.num_processes)
    check_training(settings, checkpoint)
    if accelerator.is_main_process:
        begin(folder, settings, inputs=_inputs(settings, checkpoint))
    accelerator.wait_for_everyone()
    if (done := read_finished(folder)) is not None:
        return done
    with held(folder, accelerator):
        return _train(settings, checkpoint, accelerator=accelerator, report=progress)


def _train(
    settings: TrainSettings,
    checkpoint: Checkpoint,
    *,
    accelerator: Accelerator,
    report: Report | None,
) -> Finished:
    folder = Path(settings.output)
    rows, graded, noted = _read(settings.data)
    if accelerator.is_main_process:
        write_json(folder / "data.json", noted)
    task = FineTuning(
        settings,
        checkpoint,
        rows=rows,
        graded=graded,
        accelerator=accelerator,
        report=report,
    )
    reads = max(settings.data.query_length, settings.data.passage_length)
    if accelerator.is_main_process:
        noted["tokens read"] = {"before": checkpoint.encoding.max_length, "now": reads}
        write_json(folder / "data.json", task.drawing.noted(noted))
    encoding = replace(
        checkpoint.encoding,
        normalize=settings.loss.similarity == "cosine",
        max_length=reads,
    )
    return run_to_end(
        task, settings, base=checkpoint, encoding=encoding, accelerator=accelerator, report=report
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


def _check_shares(settings: TrainSettings, *, processes: int) -> None:
    sizes = {"optimizer.batch": settings.optimizer.batch}
    if settings.data.graded:
        sizes["data.graded_batch"] = settings.data.graded_batch
    for name, size in sizes.items():
        if size % processes:
            raise InputError(f"{name} = {size} cannot be shared evenly by {processes} processes")


def _inputs(settings: TrainSettings, checkpoint: Checkpoint) -> dict[str, str]:
    chosen = settings.loss
    others = [*chosen.teachers, *([chosen.reranker] if chosen.reranker else [])]
    models = {one: open_model(one).fingerprint for one in others}
    data = [*settings.data.train, *settings.data.graded]
    if settings.dev:
        data.append(settings.dev.folder)
    return {settings.model: checkpoint.fingerprint, **models, **checksums(data)}


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
