"""CoROM pre-training: retrieval-oriented masking joined with coCondenser.

A document gives two spans. In each, tokens are hidden by importance (`masking`) and predicted by
the last layer and by Condenser's head (`condenser`); and each span's [CLS] must find the other
span of its document among all spans of the batch (coCondenser, Gao & Callan, 2108.05540). The
loss is the sum: late MLM + head MLM + contrast. Where the papers are silent we chose cosines and
a temperature of 0.05 for the contrast, the middle layer for the head, BM25 weights for masking.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from corom.engines.torch_bert import TorchBert
from corom.models.checkpoint import Checkpoint
from corom.models.config import Shape
from corom.tokens import TokenIds, pad
from corom.training.batches import Chunk, by_length, make_cutters, restored
from corom.training.checks import check_pretraining
from corom.training.condenser import Condenser
from corom.training.corpus import Corpus, spans, write_corpus
from corom.training.frame import Finished, Run, entered, open_dev, run_to_end, write_encoder
from corom.training.loss import info_nce, similarities
from corom.training.masking import UNMASKED, importance, mask, probabilities
from corom.training.objective import gather
from corom.training.plan import plan_run
from corom.training.processes import own_share, start_accelerator
from corom.training.progress import Report
from corom.training.provenance import DATA
from corom.training.settings import PretrainSettings
from corom.training.tower import open_checkpoint


class SpanBatch(NamedTuple):
    """One process's share of a batch: d documents, the first span of each, then second ones."""

    tokens: list[TokenIds]
    labels: list[TokenIds]
    paired: Tensor
    """(second spans,) the documents that have one."""
    documents: int
    hidden: int
    """Tokens to predict."""


class SpanChunk(NamedTuple):
    """Spans that go through the model at once."""

    ids: Tensor
    lengths: Tensor
    labels: Tensor
    share: float
    """What one token's loss counts: 1 / the tokens to predict in the batch."""


class PreTraining:
    """The `Task` of pre-training an encoder on a corpus."""

    def __init__(self, run: Run[PretrainSettings], *, corpus: Corpus) -> None:
        settings, checkpoint = run.settings, run.base
        self.settings, self.corpus, self.accelerator = settings, corpus, run.accelerator
        shape, length = checkpoint.shape, settings.span_length
        self.layers = shape.layers
        self.model = _make_model(settings, checkpoint)
        self.cutters = make_cutters(checkpoint, query_length=length, passage_length=length)
        tokenizer = Tokenizer.from_str(checkpoint.tokenizer_json)
        self.frame = np.array(tokenizer.encode("").ids)
        self.vocabulary = tokenizer.get_vocab_size()
        self.mask_id = tokenizer.get_vocab()["[MASK]"]
        optimizer = settings.optimizer
        self.plan = plan_run(
            np.ones(len(corpus)),
            size=optimizer.batch,
            seed=settings.run.seed,
            epochs=optimizer.epochs,
            most=optimizer.max_steps and optimizer.max_steps * optimizer.accumulate,
        )
        self.batches, self.per_epoch = len(self.plan.rows), self.plan.per_epoch

    def batch(self, number: int) -> SpanBatch:
        """Return this process's share of a batch."""
        share = own_share(self.accelerator)
        epoch = int(self.plan.epochs[number])
        pieces = [self._spans(int(row), epoch) for row in self.plan.rows[number, share]]
        paired = [place for place, piece in enumerate(pieces) if len(piece) > 1]
        chosen = [piece[0] for piece in pieces] + [pieces[place][1] for place in paired]
        return SpanBatch(
            tokens=[tokens for tokens, _ in chosen],
            labels=[labels for _, labels in chosen],
            paired=torch.tensor(paired, dtype=torch.int64),
            documents=len(pieces),
            hidden=sum(int((labels != UNMASKED).sum()) for _, labels in chosen),
        )

    def _spans(self, row: int, epoch: int) -> list[tuple[TokenIds, TokenIds]]:
        rng = np.random.default_rng((self.settings.run.seed, epoch, row))
        found = spans(
            self.corpus.document(row),
            length=self.settings.span_length - len(self.frame),
            shortest=self.settings.shortest_span,
            rng=rng,
        )
        return [self._masked(ids, rng) for ids in found]

    def _masked(
        self, ids: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[TokenIds, TokenIds]:
        weights = np.ones(len(ids))
        if self.settings.masking == "importance":
            weights = importance(ids, self.corpus.statistics)
        chances = probabilities(weights, rate=self.settings.mask_rate)
        shown, labels = mask(
            ids, chances, mask_id=self.mask_id, vocabulary=self.vocabulary, rng=rng
        )
        first, last = self.frame[:1], self.frame[1:]
        unmasked = np.full(1, UNMASKED)
        return (
            np.concatenate([first, shown, last]).astype(np.int32),
            np.concatenate([unmasked, labels, unmasked]).astype(np.int32),
        )

    def texts(self, batch: SpanBatch) -> int:
        """Return the spans of the joint batch (of this process's share, times the processes)."""
        return len(batch.tokens) * int(self.accelerator.num_processes)

    def chunks(self, batch: SpanBatch) -> list[SpanChunk]:
        """Return the batch's spans, longest first, as many at once as the settings say."""
        rows = by_length(list(map(len, batch.tokens)), at_once=self.settings.optimizer.chunk)
        # DDP averages over processes: so does the number of tokens a loss is divided by.
        hidden = torch.tensor(float(batch.hidden), device=self.accelerator.device)
        share = 1 / max(1.0, float(self.accelerator.reduce(hidden, "mean")))
        return [self._chunk(batch, chosen, share=share) for chosen in rows]

    def _chunk(self, batch: SpanBatch, rows: NDArray[np.int64], *, share: float) -> SpanChunk:
        device = self.accelerator.device
        lengths = torch.tensor([len(batch.tokens[row]) for row in rows])
        longest = int(lengths.max())
        ids = torch.from_numpy(pad([batch.tokens[row] for row in rows], longest))
        # Labels of padding are never looked at: only the rows of real tokens are.
        labels = torch.from_numpy(pad([batch.labels[row] for row in rows], longest))
        return SpanChunk(
            ids.to(device, torch.int64),
            lengths,
            labels.to(device, torch.int64),
            share,
        )

    def encode(
        self, model: nn.Module, chunk: SpanChunk, *, vectors_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the [CLS] vectors of a chunk and the loss of its hidden tokens."""
        vectors, loss = model(chunk.ids, chunk.lengths, None if vectors_only else chunk.labels)
        return vectors, None if loss is None else loss * chunk.share

    def objective(self, vectors: Tensor, batch: SpanBatch) -> Tensor:
        """Return the contrast of the joint batch's spans."""
        if not self.settings.contrast_weight:
            return vectors.sum() * 0.0
        rows = by_length(list(map(len, batch.tokens)), at_once=self.settings.optimizer.chunk)
        vectors = restored(vectors, rows)
        one, paired = vectors[: batch.documents], batch.paired.to(vectors.device)
        other = torch.zeros_like(one).index_copy(0, paired, vectors[batch.documents :])
        there = torch.zeros(len(one), dtype=torch.bool, device=vectors.device)
        there[paired] = True
        joint = torch.cat([gather(self.accelerator, one), gather(self.accelerator, other)])
        loss = span_contrast(
            joint, self.accelerator.gather(there), temperature=self.settings.temperature
        )
        return loss * self.settings.contrast_weight

    def vectors(self, chunk: Chunk) -> Tensor:
        """Return the [CLS] vectors of a chunk at length 1."""
        found: Tensor = self.model.bert.encode(*chunk, pooling="cls", normalize=True)
        return found


def span_contrast(vectors: Tensor, paired: Tensor, *, temperature: float) -> Tensor:
    """Return the mean cross entropy of a span's partner among all other spans (coCondenser).

    `vectors` (2 * documents, dim): all first spans, then all second ones; `paired` (documents,)
    says which documents have a second one. Single spans are negatives of the others only.
    """
    count = len(paired)
    places = torch.arange(2 * count, device=vectors.device)
    missing = torch.cat([torch.zeros_like(paired), ~paired])
    hidden = (places[:, None] == places[None, :]) | missing[None, :]
    rows = torch.cat([paired, paired]).nonzero().flatten()
    if not len(rows):
        return vectors.sum() * 0.0
    scores = similarities(vectors[rows], vectors, kind="cosine")
    target = (rows + count) % (2 * count)
    return info_nce(scores, target, temperature=temperature, hidden=hidden[rows])


def pretrain(settings: PretrainSettings, *, progress: Report | None = None) -> Finished:
    """Pre-train as `settings` say and return where the encoder lies; the trainer starts from it.

    Resumes, returns and raises as `train` does.
    """
    accelerator = start_accelerator(settings.run)
    base = resized(open_checkpoint(settings.model), settings)
    check_pretraining(settings, base)
    run = Run(settings=settings, accelerator=accelerator, base=base, report=progress)
    return entered(run, _pretrain, data=settings.texts)


def _pretrain(run: Run[PretrainSettings]) -> Finished:
    folder = run.folder / "corpus"
    if run.accelerator.is_main_process and not (run.folder / DATA).exists():
        _prepare(run, folder)
    run.accelerator.wait_for_everyone()
    task = PreTraining(run, corpus=Corpus(folder))
    encoding = replace(run.base.encoding, pooling="cls", normalize=True)
    dev = open_dev(run, task.cutters)
    return run_to_end(task, run, dev=dev, write=partial(write_encoder, task, run, encoding))


def _prepare(run: Run[PretrainSettings], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # a kill may have come before the report
    skips = write_corpus(
        folder,
        run.settings.texts,
        tokenizer_json=run.base.tokenizer_json,
        vocabulary=run.base.shape.vocabulary,
    )
    corpus = Corpus(folder)
    report = {"documents": len(corpus), "tokens": len(corpus.ids), "left out": skips.counts}
    run.note_data(report)


def resized(checkpoint: Checkpoint, settings: PretrainSettings) -> Checkpoint:
    """Return the checkpoint with the sizes of `settings.scratch`, if it is trained from scratch."""
    if settings.scratch is None:
        return checkpoint
    sizes = settings.scratch
    shape = replace(
        checkpoint.shape,
        layers=sizes.layers,
        hidden=sizes.hidden,
        heads=sizes.heads,
        intermediate=sizes.intermediate,
    )
    return replace(checkpoint, shape=shape)


def _make_model(settings: PretrainSettings, checkpoint: Checkpoint) -> Condenser:
    # The seed makes random weights the same on every process and after every resume.
    torch.manual_seed(settings.run.seed)
    shape: Shape = checkpoint.shape
    bert = TorchBert(shape, dropout=settings.run.dropout)
    if settings.scratch is None:
        bert.load_weights(checkpoint.load_weights())
    early = shape.layers // 2 if settings.early_layer is None else settings.early_layer
    return Condenser(bert, head_layers=settings.head_layers, early_layer=early)
