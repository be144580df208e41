"""The settings of what makes training data: mining, taking a part, holding some back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from corom.engines.base import Precision
from corom.training.run_settings import (
    ReadSettings,
    check,
    check_numbers,
    check_patterns,
    check_whole,
)

_MARGIN = 0.05


@dataclass(frozen=True, kw_only=True)
class MadeSettings(ReadSettings):
    """Data made of data: the files and dataset folders `data` in, the folder `output` out."""

    data: tuple[str, ...]
    output: str
    seed: int = 42

    def __post_init__(self) -> None:
        check(bool(self.data), "data names no file")


@dataclass(frozen=True, kw_only=True)
class MineSettings(MadeSettings):
    """Mining: the same data with more negatives."""

    model: str = ""
    """What ranks the passages, where `source` is dense."""
    corpus: str = ""
    """Where negatives come from: passages or a dataset folder; empty: the data's own passages."""
    pool: dict[str, float] = field(default_factory=dict)
    """Pattern of source names -> the share of their passages that is searched, where `corpus` is
    empty (1 where none matches): questions that are alike are no wrong answers."""
    source: Literal["dense", "bm25", "random"] = "dense"
    skip_first: int = 0
    """Leave out so many of the best ranked."""
    depth: int = 100
    """Look at so many ranks."""
    relative_margin: float | None = _MARGIN
    """Drop what scores within this share of the (lowest) positive's score; None: keep all. Of the
    dense source alone: what other sources score says nothing of answers."""
    negatives: int = 8
    """Mined for each query at most."""
    choose: Literal["random", "first"] = "random"
    """From what is left: at random by the seed, or the best ranked."""
    max_length: int | None = None
    """Tokens a text is cut to; None: the model's own."""
    precision: Precision = "auto"
    """Of the model that ranks, as `Encoder.load` has it; int8 is three times as fast on a CPU."""
    vectors: str = ""
    """Folder that keeps the passages' vectors; empty: beside the output, `OUTPUT.vectors`."""

    @property
    def kept_vectors(self) -> Path:
        """The folder that keeps the passages' vectors."""
        return Path(self.vectors or f"{self.output}.vectors")

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.source != "dense" or bool(self.model), "dense mining needs a model")
        check(
            not self.pool or not self.corpus, "mine.pool is for the data's own passages: no corpus"
        )
        check_patterns(self.pool, at="mine.pool", within="a share, 0 to 1")
        check(0 <= self.skip_first < self.depth, "skip_first must be 0 or more and below depth")
        check_whole(self, "negatives")
        check_numbers(self, "relative_margin", within="a share, 0 to below 1")
        check(
            self.source == "dense" or self.relative_margin in (None, _MARGIN),
            f"relative_margin is for source = 'dense', not {self.source!r}; leave it out",
        )


@dataclass(frozen=True, kw_only=True)
class SampleSettings(MadeSettings):
    """A part of the data: fewer records of each input.

    Data to learn to find from: a pair labelled as no match counts as a bad row.
    """

    weights: dict[str, float] = field(default_factory=dict)
    """Pattern of source names -> the share of its records that is kept (1 where none matches)."""
    most: int | None = None
    """Records in all, at most; each source then gives the same part of its share."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self, "most")
        check_patterns(self.weights, at="weights", within="a share, 0 to 1")


@dataclass(frozen=True, kw_only=True)
class HoldoutSettings(MadeSettings):
    """A dev set of one's own: in the folder a data set `dev` and the rest.

    Data to learn to find from: a pair labelled as no match counts as a bad row.
    """

    queries: int = 500
    """Of the dev set, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self, "queries")
