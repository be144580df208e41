"""The settings of a training run: frozen, checked once, saved beside what they made.

In TOML the classes are tables: `TrainSettings` is the file, `data`, `loss`, `optimizer`, `dev`
and `finish` are its tables. Paths are relative to the folder the command runs in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from corom.checks import require_whole
from corom.engines.base import Precision
from corom.training.run_settings import (
    DevSettings,
    FinishSettings,
    OptimizerSettings,
    ReadSettings,
    RerankerDevSettings,
    RunSettings,
    check,
    check_numbers,
    check_patterns,
    check_whole,
)
from corom.training.tables import from_table, merged, read_toml

_LOSSES = ("contrast", "teacher", "reranker", "base", "graded")


@dataclass(frozen=True, kw_only=True)
class RowSettings(ReadSettings):
    """The rows that are trained on: queries with passages that answer them and others."""

    train: tuple[str, ...]
    """Files of groups or pairs, or dataset folders (queries, qrels and corpus)."""
    weights: dict[str, float] = field(default_factory=dict)
    """Pattern of source names -> how often a row is used per epoch (1 where none matches)."""
    negatives: int = 1
    """Negatives a query brings along, from its row."""
    fill: Literal["none", "random"] = "none"
    """Where a row has too few negatives: go without, or draw passages from the corpus."""
    pool: dict[str, float] = field(default_factory=dict)
    """Pattern of source names -> the share of their passages that is drawn from (1 where none
    matches); a dataset folder's corpus is drawn from whole."""
    unique: bool = True
    """No two rows of a batch share their query or their positive."""

    def __post_init__(self) -> None:
        check(bool(self.train), "data.train names no file")
        check_whole(self, "negatives", at="data.", low=0)
        check_patterns(self.weights, at="data.weights", within="0 or more")
        check(
            not self.pool or self.fill == "random",
            "data.pool says what random negatives are drawn from: set data.fill = 'random' too",
        )
        check_patterns(self.pool, at="data.pool", within="a share, 0 to 1")


@dataclass(frozen=True, kw_only=True)
class DataSettings(RowSettings):
    """What an encoder is trained on: rows and graded pairs."""

    graded: tuple[str, ...] = ()
    """Files of graded pairs; `loss.graded_weight` says how much they count."""
    graded_batch: int = 32
    """Graded pairs that join each batch, all of one source."""
    topics: int = 0
    """Fill each batch from one of so many topics of the queries (TAS); 0: from all alike."""
    query_length: int = 128
    passage_length: int = 128
    """Tokens a text is cut to, [CLS] and [SEP] included."""
    query_prefix: str | None = None
    passage_prefix: str | None = None
    """Put before every text, by the finished model too; None: as the model has it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self, "topics", at="data.", low=0)
        check_whole(self, "graded_batch", at="data.", low=2)  # one pair has no order
        check_whole(self, "query_length", "passage_length", at="data.", low=3)


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
    reranker: str = ""
    """A cross-encoder whose scores of a query's own passages are imitated (KL of softmaxes)."""
    reranker_weight: float = 0.0
    reranker_temperature: float = 1.0
    """What its scores are divided by; ours are by `temperature`."""
    reranker_precision: Precision = "auto"
    """As `Reranker.load` has it; int8 is several times as fast on a CPU."""
    base_weight: float = 0.0
    """Pull every vector towards the one the model gave before training (1 - cosine)."""
    graded_weight: float = 0.0
    graded_scale: float = 20.0

    def __post_init__(self) -> None:
        weights = [f"{part}_weight" for part in _LOSSES]
        check_numbers(self, *weights, at="loss.", within="0 or more")
        check(
            any(getattr(self, name) > 0 for name in weights),
            "loss.contrast_weight is 0, and no other weight is above it: nothing would be learned",
        )
        temperatures = ("temperature", "teacher_temperature", "reranker_temperature")
        check_numbers(self, *temperatures, "graded_scale", at="loss.", within="more than 0")
        for size in self.matryoshka:
            require_whole("a size of loss.matryoshka", size)
        check(
            bool(self.teachers) == (self.teacher_weight > 0),
            "loss.teachers and loss.teacher_weight go together: set both or none",
        )
        check(
            bool(self.reranker) == (self.reranker_weight > 0),
            "loss.reranker and loss.reranker_weight go together: set both or none",
        )
        vectors = self.teacher_loss in ("cosine", "mse")
        check(
            not vectors or len(self.teachers) <= 1,
            f"loss.teacher_loss = {self.teacher_loss!r} imitates vectors, so of one teacher only",
        )


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
    states: str = ""
    """Folder that keeps what the frozen part gives, where only the last block learns; empty:
    `OUTPUT/states`."""

    @property
    def kept_states(self) -> Path:
        """The folder that keeps the states of texts."""
        return Path(self.states or f"{self.output}/states")

    def __post_init__(self) -> None:
        check(
            bool(self.data.graded) == (self.loss.graded_weight > 0),
            "data.graded and loss.graded_weight go together: set both or none",
        )
        check(
            not self.loss.reranker or self.data.negatives > 0,
            "loss.reranker tells a query's own passages apart: set data.negatives too",
        )
        check(self.finish.average_last <= self.run.keep, "finish.average_last exceeds run.keep")


@dataclass(frozen=True, kw_only=True)
class RerankerSettings:
    """The training of a cross-encoder: `model`, an encoder, in, `output`/model out."""

    model: str
    output: str
    data: RowSettings
    max_length: int = 256
    """Tokens of query and passage together."""
    optimizer: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(epochs=1.0, batch=32, learning_rate=1e-4)
    )
    dev: RerankerDevSettings | None = None
    take: Literal["best", "last"] = "best"
    """The step with the best dev figure (the last where there is no dev set), or the last."""
    run: RunSettings = field(default_factory=RunSettings)
    licence: str = ""
    """For the model card: what the data and the base allow. Empty: "see the data's terms"."""

    @property
    def finish(self) -> FinishSettings:
        """What becomes the finished model, as other runs say it."""
        return FinishSettings(take=self.take, licence=self.licence)

    def __post_init__(self) -> None:
        check(self.data.negatives > 0, "data.negatives: a reranker needs passages to tell apart")
        check_whole(self, "max_length", low=8)
        check(
            self.optimizer.trained == "all",
            f"optimizer.trained is {self.optimizer.trained!r}; of a reranker every weight learns",
        )


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
        check_whole(self, "shortest_span")
        check(self.span_length >= self.shortest_span + 2, "span_length is below shortest_span + 2")
        check(self.optimizer.trained == "all", "pre-training trains every weight")
        check_whole(self, "head_layers", "early_layer", low=0)
        check_numbers(self, "contrast_weight", within="0 or more")
        check_numbers(self, "temperature", within="more than 0")
        check(not (self.scratch and self.finish.keep_base), "from scratch there is no base to keep")


S = TypeVar("S")


def load_settings(
    kind: type[S], path: Path | str | None, *, changes: Mapping[str, Any] | None = None
) -> S:
    """Return the settings of a TOML file (if any) with `changes` to its tables.

    Raises InputError for anything they should not hold.
    """
    return from_table(kind, merged({} if path is None else read_toml(path), changes or {}))
