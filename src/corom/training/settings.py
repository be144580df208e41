"""The settings of a training run: frozen, checked once, saved beside what they made.

In TOML the classes are tables: `TrainSettings` is the file, `data`, `loss`, `optimizer`, `dev`
and `finish` are its tables. Paths are relative to the folder the command runs in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from corom.errors import InputError
from corom.training.recipe import from_table, read_toml

Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["auto", "fp32", "bf16"]


def check(statement: bool, message: str) -> None:
    """Raise InputError with `message` unless `statement` holds."""
    if not statement:
        raise InputError(message)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is trained on."""

    train: tuple[str, ...]
    """Files of groups or pairs, or dataset folders (queries, qrels and corpus)."""
    split: str = "train"
    """The queries of a dataset folder."""
    graded: tuple[str, ...] = ()
    """Files of graded pairs; `loss.graded_weight` says how much they count."""
    graded_batch: int = 32
    """Graded pairs that join each batch."""
    weights: dict[str, float] = field(default_factory=dict)
    """Pattern of source names -> how often a row is used per epoch (1 where none matches)."""
    negatives: int = 1
    """Negatives a query brings along, from its row."""
    fill: Literal["none", "random"] = "none"
    """Where a row has too few negatives: go without, or draw passages from the corpus."""
    bad_rows: Literal["raise", "skip"] = "raise"
    """A row that cannot be used stops the run, or is skipped and counted."""
    unique: bool = True
    """No two rows of a batch share their query or their positive."""
    query_length: int = 128
    passage_length: int = 128
    """Tokens a text is cut to, [CLS] and [SEP] included."""

    def __post_init__(self) -> None:
        check(bool(self.train), "data.train names no file")
        check(self.negatives >= 0, f"data.negatives is {self.negatives}; expected 0 or more")
        check(self.graded_batch > 1, "data.graded_batch: an order takes at least 2 pairs")
        for name, weight in self.weights.items():
            check(weight >= 0, f"data.weights.{name} is {weight}; expected 0 or more")
        for length in (self.query_length, self.passage_length):
            check(length >= 3, f"a length of {length} tokens leaves no room for text")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What a batch is judged by: a weighted sum of the parts whose weight is not zero."""

    contrast_weight: float = 1.0
    similarity: Literal["cosine", "dot"] = "cosine"
    """The finished model normalises its vectors when it was trained on their cosine."""
    temperature: float = 0.02
    both_directions: bool = False
    """Also find the query among the batch's queries, given the passage."""
    mask_margin: float | None = None
    """Hide negatives that score above the positive by more than this (a likely unlabelled hit)."""
    matryoshka: tuple[int, ...] = ()
    """Also judge the first so many dimensions, each as much as the whole."""
    teachers: tuple[str, ...] = ()
    """Model folders whose scores (averaged) or vectors (the only one's) are imitated."""
    teacher_weight: float = 0.0
    teacher_loss: Literal["kl", "margin_mse", "cosine", "mse"] = "kl"
    teacher_temperature: float = 0.02
    base_weight: float = 0.0
    """Pull every vector towards the one the model gave before training (1 - cosine)."""
    graded_weight: float = 0.0
    graded_scale: float = 20.0

    def __post_init__(self) -> None:
        for name in ("contrast_weight", "teacher_weight", "base_weight", "graded_weight"):
            check(getattr(self, name) >= 0, f"loss.{name} is negative")
        for name in ("temperature", "teacher_temperature", "graded_scale"):
            check(getattr(self, name) > 0, f"loss.{name} must be above 0")
        check(all(dim > 0 for dim in self.matryoshka), "loss.matryoshka: sizes must be above 0")
        check(
            bool(self.teachers) == (self.teacher_weight > 0),
            "loss.teachers and loss.teacher_weight go together: set both or none",
        )
        vectors = self.teacher_loss in ("cosine", "mse")
        check(
            not vectors or len(self.teachers) <= 1,
            f"loss.teacher_loss = {self.teacher_loss!r} imitates vectors, so of one teacher only",
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How the weights move: AdamW, after `batch` queries seen by all processes together."""

    epochs: float = 3.0
    max_steps: int | None = None
    batch: int = 64
    """Queries a step compares with each other, over all processes."""
    accumulate: int = 1
    """Batches per change of the weights."""
    chunk: int = 0
    """Texts that go through the model at once (gradient cache); 0: the whole batch."""
    learning_rate: float = 5e-6
    layer_decay: float = 1.0
    """Each layer below the last learns this much slower than the one above it."""
    weight_decay: float = 0.01
    schedule: Schedule = "linear"
    warmup: float = 0.1
    """Share of the steps in which the learning rate grows to its height."""
    clip: float = 1.0
    """Greatest norm of the gradient; 0: any."""

    def __post_init__(self) -> None:
        check(self.epochs > 0, f"optimizer.epochs is {self.epochs}; expected more than 0")
        check(self.max_steps is None or self.max_steps > 0, "optimizer.max_steps must be above 0")
        check(self.batch > 0, f"optimizer.batch is {self.batch}; expected 1 or more")
        check(self.accumulate > 0, "optimizer.accumulate must be 1 or more")
        check(self.chunk >= 0 and self.clip >= 0, "optimizer.chunk and .clip must not be negative")
        check(self.learning_rate > 0, "optimizer.learning_rate must be above 0")
        check(0 < self.layer_decay <= 1, "optimizer.layer_decay must be above 0, at most 1")
        check(self.weight_decay >= 0, "optimizer.weight_decay must not be negative")
        check(0 <= self.warmup < 1, "optimizer.warmup is a share of the steps: 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class DevSettings:
    """Evaluation while training: a dataset's queries are searched for, higher is better."""

    folder: str
    queries: str = "dev"
    measure: str = "MRR@10"
    """Any measure of `corom.metrics` with a cut-off."""
    max_queries: int | None = None
    max_passages: int | None = None
    """Search among the relevant passages and so many others, drawn by the seed."""
    every: int = 0
    """Steps between evaluations; 0: once per epoch."""
    patience: int = 0
    """Stop after so many evaluations without a new best; 0: never."""

    def __post_init__(self) -> None:
        check(
            re.fullmatch(r"[A-Za-z]+@[1-9][0-9]{0,3}", self.measure) is not None,
            f"dev.measure is {self.measure!r}; expected a name and a cut-off such as MRR@10",
        )
        check(self.every >= 0 and self.patience >= 0, "dev.every and .patience: 0 or more")
        for name in ("max_queries", "max_passages"):
            value = getattr(self, name)
            check(value is None or value > 0, f"dev.{name} must be above 0")


@dataclass(frozen=True, kw_only=True)
class FinishSettings:
    """What becomes the finished model."""

    take: Literal["best", "last"] = "best"
    """The step with the best dev figure (the last where there is no dev set), or the last."""
    average_last: int = 1
    """Average the weights of so many of the newest checkpoints instead (more than 1)."""
    keep_base: float = 0.0
    """Share of the starting weights mixed back in, against forgetting."""
    licence: str = ""
    """For the model card: what the data and the base allow. Empty: "see the data's terms"."""

    def __post_init__(self) -> None:
        check(self.average_last >= 1, "finish.average_last must be 1 or more")
        check(0 <= self.keep_base < 1, "finish.keep_base is a share: 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What training and pre-training share: where, how exactly, how often noted."""

    seed: int = 42
    device: Literal["auto", "cpu"] = "auto"
    precision: Precision = "auto"
    """auto: bf16 where the chip multiplies it fast, else fp32."""
    dropout: float = 0.1
    log_every: int = 10
    checkpoint_every: int = 500
    keep: int = 2
    """Newest checkpoints kept, beside the best."""
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check(self.seed >= 0, "run.seed must not be negative")
        check(0 <= self.dropout < 1, f"run.dropout is {self.dropout}; expected 0 to below 1")
        for name in ("log_every", "checkpoint_every", "keep"):
            check(getattr(self, name) > 0, f"run.{name} must be above 0")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A training run: `model` in, `output`/model out."""

    model: str
    output: str
    data: DataSettings
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    dev: DevSettings | None = None
    finish: FinishSettings = field(default_factory=FinishSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        check(
            bool(self.data.graded) == (self.loss.graded_weight > 0),
            "data.graded and loss.graded_weight go together: set both or none",
        )
        check(self.finish.average_last <= self.run.keep, "finish.average_last exceeds run.keep")


@dataclass(frozen=True, kw_only=True)
class ScratchSettings:
    """The sizes of an encoder that starts from random weights."""

    layers: int
    hidden: int
    heads: int
    intermediate: int


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Pre-training on plain text: `model` in (or only its tokenizer), `output`/model out.

    A batch (`optimizer.batch`) is so many documents.
    """

    model: str
    output: str
    texts: tuple[str, ...]
    """Files with a document a line (.txt), or passages as `corom.readers` reads them."""
    scratch: ScratchSettings | None = None
    """Random weights of these sizes instead of the model's."""
    masking: Literal["importance", "random"] = "importance"
    mask_rate: float = 0.15
    span_length: int = 128
    """Tokens of a span, [CLS] and [SEP] included."""
    shortest_span: int = 16
    """A document of twice as many tokens gives two spans, a shorter one is only masked."""
    head_layers: int = 2
    """0: plain masked language modelling, without Condenser's head."""
    early_layer: int | None = None
    """The layer whose states the head sees; None: the middle one."""
    contrast_weight: float = 1.0
    """Of the span contrast; 0: no coCondenser."""
    temperature: float = 0.05
    optimizer: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(epochs=1.0, batch=128, learning_rate=1e-4)
    )
    dev: DevSettings | None = None
    finish: FinishSettings = field(default_factory=FinishSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        check(bool(self.texts), "texts names no file")
        check(0 < self.mask_rate <= 0.5, "mask_rate must be above 0, at most 0.5")
        check(self.shortest_span >= 1, "shortest_span must be 1 or more")
        check(self.span_length >= self.shortest_span + 2, "span_length is below shortest_span + 2")
        check(self.head_layers >= 0, "head_layers must not be negative")
        check(self.early_layer is None or self.early_layer >= 0, "early_layer: 0 or more")
        check(self.contrast_weight >= 0 and self.temperature > 0, "contrast: weight 0 or more")
        check(not (self.scratch and self.finish.keep_base), "from scratch there is no base to keep")


S = TypeVar("S", TrainSettings, PretrainSettings)


def load_settings(kind: type[S], path: Path | str) -> S:
    """Return the settings of a TOML file; raise InputError for anything it should not hold."""
    return from_table(kind, read_toml(path))
