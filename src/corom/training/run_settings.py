"""The settings that verbs share: how data is read, how weights move, are judged and kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from corom.checks import require_whole
from corom.errors import InputError
from corom.training.sources import plain_source

Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["auto", "fp32", "bf16"]
Range = Literal[
    "0 or more", "more than 0", "more than 0, at most 1", "a share, 0 to 1", "a share, 0 to below 1"
]

_RANGES: dict[Range, Callable[[float], bool]] = {
    "0 or more": lambda number: number >= 0,
    "more than 0": lambda number: number > 0,
    "more than 0, at most 1": lambda number: 0 < number <= 1,
    "a share, 0 to 1": lambda number: 0 <= number <= 1,
    "a share, 0 to below 1": lambda number: 0 <= number < 1,
}


def check(statement: bool, message: str) -> None:
    """Raise InputError with `message` unless `statement` holds."""
    if not statement:
        raise InputError(message)


def check_whole(settings: object, *names: str, at: str = "", low: int = 1) -> None:
    """Raise InputError for the first of the settings that is no whole number from `low`, or None.

    `at` is the table they are in, with a dot.
    """
    for name in names:
        if (number := getattr(settings, name)) is not None:
            require_whole(f"{at}{name}", number, low=low)


def check_numbers(settings: object, *names: str, at: str = "", within: Range) -> None:
    """Raise InputError for the first of the settings that is out of the range and not None."""
    for name in names:
        if (number := getattr(settings, name)) is not None:
            _check_number(f"{at}{name}", number, within=within)


def _check_number(name: str, number: float, *, within: Range) -> None:
    check(_RANGES[within](number), f"{name} is {number}; expected {within}")


def check_patterns(patterns: Mapping[str, float], *, at: str, within: Range) -> None:
    """Raise InputError for a number that is out of the range, or a pattern that is an ending alone.

    Sources have no endings, so it would match them all.
    """
    for pattern, number in patterns.items():
        _check_number(f"{at}.{pattern}", number, within=within)
        bare = plain_source(pattern)
        check(
            bare == pattern or bool(bare.strip("*?")),
            f"{at}: {pattern!r} says no more than the ending of a file, and sources have none",
        )


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """How the records of files and dataset folders are read."""

    split: str = "train"
    """The queries of a dataset folder."""
    bad_rows: Literal["raise", "skip"] = "raise"
    """A row that cannot be used stops the work, or is skipped and counted."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How the weights move: AdamW, after `batch` queries seen by all processes together."""

    trained: Literal["all", "last two layers", "last layer", "last block"] = "all"
    """What learns: every weight, the last layers, or only the last feed-forward block. All but the
    first need [CLS] pooling and compute the rest of the encoder once a text: minutes on a CPU."""
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
        at = "optimizer."
        check_whole(self, "max_steps", "batch", "accumulate", at=at)
        check_whole(self, "chunk", at=at, low=0)
        check_numbers(self, "epochs", "learning_rate", at=at, within="more than 0")
        check_numbers(self, "clip", "weight_decay", at=at, within="0 or more")
        check_numbers(self, "layer_decay", at=at, within="more than 0, at most 1")
        check_numbers(self, "warmup", at=at, within="a share, 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class JudgedSettings:
    """Evaluation while training: a dataset's judged queries, higher is better."""

    folder: str
    queries: str = "dev"
    measure: str = "MRR@10"
    """Any measure of `corom.metrics` with a cut-off."""
    max_queries: int | None = None
    every: int = 0
    """Steps between evaluations; 0: once per epoch."""
    patience: int = 0
    """Stop after so many evaluations without a new best; 0: never."""

    def __post_init__(self) -> None:
        check(
            re.fullmatch(r"[A-Za-z]+@[1-9][0-9]{0,3}", self.measure) is not None,
            f"dev.measure is {self.measure!r}; expected a name and a cut-off such as MRR@10",
        )
        check_whole(self, "every", "patience", at="dev.", low=0)
        check_whole(self, "max_queries", at="dev.")


@dataclass(frozen=True, kw_only=True)
class DevSettings(JudgedSettings):
    """Of an encoder: the queries are searched for."""

    max_passages: int | None = None
    """Search among the relevant passages and so many others, drawn by the seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self, "max_passages", at="dev.")


@dataclass(frozen=True, kw_only=True)
class RerankerDevSettings(JudgedSettings):
    """Of a reranker: what a first search found for the queries is put in its order."""

    run: str
    """What the first search found: a TREC run file, of `corom evaluate --runs` for one."""
    depth: int = 30
    """Hits of each query that are read."""
    share: float = 0.5
    """What the reranker's scores count, as in a search; the first search's the rest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self, "depth", at="dev.")
        check_numbers(self, "share", at="dev.", within="more than 0, at most 1")


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
        check_whole(self, "average_last", at="finish.")
        check_numbers(self, "keep_base", at="finish.", within="a share, 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What training and pre-training share: where, how exactly, how often noted."""

    seed: int = 42
    device: Literal["auto", "cpu"] = "auto"
    precision: Precision = "auto"
    """auto: bf16 where that is faster (GPUs, CPUs with AMX), else fp32."""
    dropout: float = 0.1
    log_every: int = 10
    checkpoint_every: int = 500
    keep: int = 2
    """Newest checkpoints kept, beside the best."""
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_whole(self, "seed", at="run.", low=0)
        check_whole(self, "log_every", "checkpoint_every", "keep", at="run.")
        check_numbers(self, "dropout", at="run.", within="a share, 0 to below 1")
