"""What a recipe says of every step of a chain, made one from the other and checked.

The steps themselves are run by `chain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from corom.engines.base import Precision
from corom.errors import InputError
from corom.extras import need
from corom.models.checkpoint import Checkpoint
from corom.training.checks import (
    check_data,
    check_length,
    check_measurable,
    check_pretraining,
    check_training,
)
from corom.training.inputs import output_names
from corom.training.mining_settings import MineSettings, SampleSettings
from corom.training.pretraining import resized
from corom.training.run_settings import check, check_numbers, check_whole
from corom.training.settings import PretrainSettings, TrainSettings
from corom.training.tables import from_table, merged, read_toml
from corom.training.tower import open_checkpoint

SAMPLED, PRETRAINED, STAGE1, MINED = "0-sampled", "0-pretrained", "1-stage1", "2-mined"
STAGE2, AVERAGED, EVALUATED = "3-stage2", "4-averaged", "5-evaluated"
VECTORS, STATES = "vectors", "states"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What the models are measured on at the end."""

    folder: str
    splits: tuple[str, ...] = ("dev",)
    measures: tuple[str, ...] = ("MRR@10", "Recall@1000", "nDCG@10")
    depth: int = 1000
    bm25: bool = True
    """Measure BM25 too."""
    precision: Precision = "auto"
    """Of the models that are measured; "int8" is the fastest on a CPU."""

    def __post_init__(self) -> None:
        check(bool(self.splits and self.measures), "evaluate.splits and .measures: name one each")
        check_whole(self, "depth", at="evaluate.")


@dataclass(frozen=True, kw_only=True)
class TwoStageSettings:
    """A whole chain; its tables are those of the single verbs, without model and output.

    `sample` and `mine` take their data from `stage1`; `stage2` says only what differs from it.
    """

    model: str
    output: str
    stage2_from: Literal["base", "stage1"] = "base"
    """What stage 2 starts from: the (pre-trained) base again, or the model of stage 1."""
    stage1: dict[str, Any]
    mine: dict[str, Any] = field(default_factory=dict)
    stage2: dict[str, Any] = field(default_factory=dict)
    sample: dict[str, Any] | None = None
    pretrain: dict[str, Any] | None = None
    keep_base: float = 0.0
    """Share of what stage 1 starts from in the finished model, which is an average then."""
    keep_stage1: float = 0.0
    """Share of stage 1's model in it."""
    evaluate: EvaluateSettings | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "keep_base", "keep_stage1", within="a share, 0 to below 1")
        check(self.keep_base + self.keep_stage1 < 1, "keep_base + keep_stage1: below 1 together")


class Steps(NamedTuple):
    """The settings of every step, checked."""

    sample: SampleSettings | None
    pretrain: PretrainSettings | None
    stage1: TrainSettings
    mine: MineSettings
    stage2: TrainSettings


def load_recipe(path: Path | str, *, changes: Mapping[str, Any] | None = None) -> TwoStageSettings:
    """Return the recipe in a TOML file with `changes` to it, every step's settings checked."""
    recipe = from_table(TwoStageSettings, merged(read_toml(path), changes or {}))
    steps_of(recipe)
    return recipe


def steps_of(recipe: TwoStageSettings) -> Steps:
    """Return the settings of every step; raise InputError for what no step knows."""
    if not isinstance(own := recipe.stage2.get("data", {}), Mapping):
        raise InputError(f"the setting stage2.data is {own!r}; expected a table")
    if "train" in own:
        raise InputError("stage2.data.train is what was mined; remove it")
    output, base, pretraining = Path(recipe.output), recipe.model, None
    if recipe.pretrain is not None:
        table = _placed(recipe.pretrain, "pretrain", model=base, output=str(output / PRETRAINED))
        pretraining = from_table(PretrainSettings, table, at="pretrain.")
        base = str(output / PRETRAINED / "model")
    states = str(output / STATES)
    table = _placed(recipe.stage1, "stage1", model=base, output=str(output / STAGE1), states=states)
    stage1 = from_table(TrainSettings, table, at="stage1.")
    sampling = _sample(recipe, stage1)
    if sampling:
        parts = tuple(str(output / SAMPLED / name) for name in output_names(sampling.data))
        stage1 = replace(stage1, data=replace(stage1.data, train=parts))
    mining = _mine(recipe, stage1)
    mined = [str(output / MINED / name) for name in output_names(mining.data)]
    table = merged(recipe.stage1, {**recipe.stage2, "data": own})
    table["data"]["train"] = mined
    start = f"{stage1.output}/model" if recipe.stage2_from == "stage1" else base
    table = _placed(table, "stage2", model=start, output=str(output / STAGE2), states=states)
    return Steps(
        sampling, pretraining, stage1, mining, from_table(TrainSettings, table, at="stage2.")
    )


def _sample(recipe: TwoStageSettings, stage1: TrainSettings) -> SampleSettings | None:
    if recipe.sample is None:
        return None
    table = {"split": stage1.data.split, "bad_rows": stage1.data.bad_rows, **recipe.sample}
    own = {"data": list(stage1.data.train), "output": str(Path(recipe.output) / SAMPLED)}
    return from_table(SampleSettings, _placed(table, "sample", **own), at="sample.")


def _mine(recipe: TwoStageSettings, stage1: TrainSettings) -> MineSettings:
    output = Path(recipe.output)
    table = {"split": stage1.data.split, "bad_rows": stage1.data.bad_rows, **recipe.mine}
    if "corpus" not in table:
        table = {"pool": stage1.data.pool, **table}
    own = {"model": f"{stage1.output}/model", "data": list(stage1.data.train)}
    folders = {"output": str(output / MINED), "vectors": str(output / VECTORS)}
    return from_table(MineSettings, _placed(table, "mine", **own, **folders), at="mine.")


def _placed(table: Mapping[str, Any], name: str, **own: object) -> dict[str, Any]:
    """Return a step's table with what the chain sets in it; InputError where the table does."""
    for key in own:
        if key in table:
            raise InputError(f"{name}.{key} is set by the chain itself; remove it")
    return {**table, **own}


def check_steps(recipe: TwoStageSettings, steps: Steps) -> None:
    """Raise InputError or ArtifactError for what a later step would stop at: hours lie between."""
    base, first = open_checkpoint(recipe.model), steps.sample
    data = first.data if first else steps.stage1.data.train
    split = first.split if first else steps.stage1.data.split
    check_data(data, split=split, at="stage1.data.train")
    if steps.pretrain:
        check_data(steps.pretrain.texts, at="pretrain.texts")
        base = resized(base, steps.pretrain)
        base = replace(base, encoding=replace(base.encoding, pooling="cls"))
        check_pretraining(steps.pretrain, base, at="pretrain.")
    for name, stage in (("stage1", steps.stage1), ("stage2", steps.stage2)):
        check_data(stage.data.graded, at=f"{name}.data.graded")
        check_training(stage, base, at=f"{name}.", coming=recipe.output)
    _check_mining(steps.mine, base)
    _check_evaluation(recipe.evaluate)


def _check_mining(settings: MineSettings, base: Checkpoint) -> None:
    if settings.corpus:
        check_data([settings.corpus], at="mine.corpus")
    if settings.max_length is not None:
        check_length(settings.max_length, base, at="mine.max_length")
    if settings.source == "bm25":
        need("rjieba", extra="lexical")


def _check_evaluation(settings: EvaluateSettings | None) -> None:
    if settings is None:
        return
    if settings.bm25:
        need("rjieba", extra="lexical")
    check_measurable(
        settings.folder,
        splits=settings.splits,
        measures=settings.measures,
        depth=settings.depth,
        at="evaluate",
    )
