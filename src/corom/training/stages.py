"""Both stages in one command: each step a folder, entered again where it was left.

    output/0-sampled/      only with a [sample] table: the part of the data that is used
           0-pretrained/   only with a [pretrain] table
           1-stage1/       trained on the data with random or no hard negatives
           2-mined/        the data with what stage 1 ranks high and wrongly
           3-stage2/       trained on that
           4-evaluated/    report.json and README.md: the base and both stages
           vectors/        passage vectors that mining and evaluation share
           states/         what both stages share where only the last block learns

A step whose result is there, made from the same inputs by the same settings, is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from accelerate import Accelerator

from corom.encoder import Encoder
from corom.errors import InputError
from corom.evaluation import Dense, evaluate, to_json, to_markdown
from corom.evaluation.lexical import Lexical
from corom.extras import need
from corom.files import MANIFEST, atomic_folder, check_manifest, read_json, write_bytes, write_json
from corom.readers import open_dataset
from corom.training.finetune import train
from corom.training.loop import start_accelerator
from corom.training.mining import mine
from corom.training.pretraining import pretrain
from corom.training.progress import Counted, Progress
from corom.training.recipe import as_table, from_table, merged, read_toml
from corom.training.retrieval import cuda_device
from corom.training.rows import output_names
from corom.training.sampling import sample
from corom.training.settings import (
    MineSettings,
    PretrainSettings,
    SampleSettings,
    TrainSettings,
)

SAMPLED, PRETRAINED, STAGE1, MINED = "0-sampled", "0-pretrained", "1-stage1", "2-mined"
STAGE2, EVALUATED, VECTORS, STATES = "3-stage2", "4-evaluated", "vectors", "states"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What the models are measured on at the end."""

    folder: str
    splits: tuple[str, ...] = ("dev",)
    measures: tuple[str, ...] = ("MRR@10", "Recall@1000", "nDCG@10")
    depth: int = 1000
    bm25: bool = True
    """Measure BM25 too."""


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
    evaluate: EvaluateSettings | None = None


class Steps(NamedTuple):
    """The settings of every step, checked."""

    sample: SampleSettings | None
    pretrain: PretrainSettings | None
    stage1: TrainSettings
    mine: MineSettings
    stage2: TrainSettings


StepReport = Callable[[str, Progress | Counted], None]
"""Called with the name of a step's folder and its progress."""


def load_recipe(path: Path | str, *, changes: Mapping[str, Any] | None = None) -> TwoStageSettings:
    """Return the recipe in a TOML file with `changes` to it, every step's settings checked."""
    recipe = from_table(TwoStageSettings, merged(read_toml(path), changes or {}))
    steps_of(recipe)
    return recipe


def steps_of(recipe: TwoStageSettings) -> Steps:
    """Return the settings of every step; raise InputError for what no step knows."""
    if "train" in recipe.stage2.get("data", {}):
        raise InputError("stage2.data.train is what was mined; remove it")
    output, base, pretraining = Path(recipe.output), recipe.model, None
    if recipe.pretrain is not None:
        table = _placed(recipe.pretrain, "pretrain", model=base, output=output / PRETRAINED)
        pretraining = from_table(PretrainSettings, table, at="pretrain.")
        base = str(output / PRETRAINED / "model")
    shared = {"states": str(output / STATES)}
    table = {**_placed(recipe.stage1, "stage1", model=base, output=output / STAGE1), **shared}
    stage1 = from_table(TrainSettings, table, at="stage1.")
    sampling = _sample(recipe, stage1)
    if sampling:
        parts = tuple(str(output / SAMPLED / name) for name in output_names(sampling.data))
        stage1 = replace(stage1, data=replace(stage1.data, train=parts))
    mining = _mine(recipe, stage1)
    mined = [str(output / MINED / name) for name in output_names(mining.data)]
    table = merged(recipe.stage1, {**recipe.stage2, "data": recipe.stage2.get("data", {})})
    table["data"]["train"] = mined
    start = f"{stage1.output}/model" if recipe.stage2_from == "stage1" else base
    table = {**_placed(table, "stage2", model=start, output=output / STAGE2), **shared}
    return Steps(
        sampling, pretraining, stage1, mining, from_table(TrainSettings, table, at="stage2.")
    )


def _sample(recipe: TwoStageSettings, stage1: TrainSettings) -> SampleSettings | None:
    if recipe.sample is None:
        return None
    table = {"split": stage1.data.split, "bad_rows": stage1.data.bad_rows, **recipe.sample}
    own = {"data": list(stage1.data.train), "output": str(Path(recipe.output) / SAMPLED)}
    return from_table(SampleSettings, {**table, **own}, at="sample.")


def _mine(recipe: TwoStageSettings, stage1: TrainSettings) -> MineSettings:
    output = Path(recipe.output)
    table = {"split": stage1.data.split, "bad_rows": stage1.data.bad_rows, **recipe.mine}
    if "corpus" not in table:
        table = {"pool": stage1.data.pool, **table}
    table = _placed(table, "mine", model=f"{stage1.output}/model", output=output / MINED)
    own = {"data": list(stage1.data.train), "vectors": str(output / VECTORS)}
    return from_table(MineSettings, {**table, **own}, at="mine.")


def two_stage(recipe: TwoStageSettings, *, progress: StepReport | None = None) -> Path:
    """Run every step that is not done yet and return the folder of the finished model.

    Under `torchrun` or `accelerate launch` the processes share pre-training and training; mining
    and evaluation are the main process's. Raises what the steps raise.
    """
    steps = steps_of(recipe)
    accelerator = start_accelerator(steps.stage1.run)

    def to(step: str) -> Callable[[Progress | Counted], None] | None:
        return None if progress is None else lambda now: progress(step, now)

    if steps.sample:
        _alone(accelerator, partial(sample, steps.sample))
    if steps.pretrain:
        pretrain(steps.pretrain, progress=to(PRETRAINED))
    train(steps.stage1, progress=to(STAGE1))
    _alone(accelerator, lambda: mine(steps.mine, progress=to(MINED)))
    finished = train(steps.stage2, progress=to(STAGE2))
    if (wanted := recipe.evaluate) is not None:
        _alone(accelerator, lambda: _evaluate(wanted, steps, Path(recipe.output)))
    return finished.model


def _alone(accelerator: Accelerator, step: Callable[[], object]) -> None:
    if accelerator.is_main_process:
        step()
    accelerator.wait_for_everyone()


def _placed(table: Mapping[str, Any], name: str, *, model: object, output: Path) -> dict[str, Any]:
    for key in ("model", "output"):
        if key in table:
            raise InputError(f"{name}.{key} is set by the recipe's {key}; remove it")
    return {**table, "model": str(model), "output": str(output)}


def _evaluate(settings: EvaluateSettings, steps: Steps, output: Path) -> None:
    """Write the figures of the base and of both stages over the whole corpus."""
    need("ir_measures", extra="train")
    target = output / EVALUATED
    dataset = open_dataset(settings.folder)
    models = {"base": steps.stage1.model, STAGE1: f"{steps.stage1.output}/model"}
    models[STAGE2] = f"{steps.stage2.output}/model"
    encoders = {name: Encoder.load(m, device=cuda_device() or "auto") for name, m in models.items()}
    made_of = {
        "settings": as_table(settings),
        "models": {name: encoder.fingerprint for name, encoder in encoders.items()},
        "data": dataset.checksum(),
    }
    if (target / MANIFEST).exists():
        check_manifest(target)
        if read_json(target / "made-of.json") == made_of:
            return
        raise InputError(f"{target} was made from other models or data; remove it to measure anew")
    dense = [Dense(e, name=name, work=output / VECTORS) for name, e in encoders.items()]
    report = evaluate(
        dataset,
        [*dense, *([Lexical()] if settings.bm25 else [])],
        splits=settings.splits,
        measures=settings.measures,
        depth=settings.depth,
    )
    with atomic_folder(target) as draft:
        write_json(draft / "made-of.json", made_of)
        write_json(draft / "report.json", to_json(report))
        write_bytes(draft / "README.md", to_markdown(report).encode())
