"""The settings that training and pre-training share: how weights move, are judged and kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from corom.errors import InputError
from corom.training.plan import plain_source

Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["auto", "fp32", "bf16"]


def check(statement: bool, message: str) -> None:
    """Raise InputError with `message` unless `statement` holds."""
    if not statement:
        raise InputError(message)


def check_patterns(patterns: Mapping[str, float], *, at: str) -> None:
    """Refuse a pattern that is an ending alone: sources have none, so it would match them all."""
    for pattern in patterns:
        bare = plain_source(pattern)
        check(
            bare == pattern or bool(bare.strip("*?")),
            f"{at}: {pattern!r} says no more than the ending of a file, and sources have none",
        )


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
        check(self.every >= 0 and self.patience >= 0, "dev.every and .patience: 0 or more")
        most = self.max_queries
        check(most is None or most > 0, "dev.max_queries must be above 0")


@dataclass(frozen=True, kw_only=True)
class DevSettings(JudgedSettings):
    """Of an encoder: the queries are searched for."""

    max_passages: int | None = None
    """Search among the relevant passages and so many others, drawn by the seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.max_passages
        check(most is None or most > 0, "dev.max_passages must be above 0")


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
        check(self.depth > 0, f"dev.depth is {self.depth}; read at least 1 hit")
        check(0 < self.share <= 1, f"dev.share is {self.share}; more than 0, at most 1")


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
    """auto: bf16 where that is faster (GPUs, CPUs with AMX), else fp32."""
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
