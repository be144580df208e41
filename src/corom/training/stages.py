"""Both stages in one command: each step a folder, entered again where it was left.

    output/0-sampled/      only with a [sample] table: the part of the data that is used
           0-pretrained/   only with a [pretrain] table
           1-stage1/       trained on the data with random or no hard negatives
           2-mined/        the data with what stage 1 ranks high and wrongly
           3-stage2/       trained on that
           4-averaged/     only with keep_base or keep_stage1: their weights and stage 2's
           5-evaluated/    report.json and README.md: the base, both stages and their average
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
from corom.engines.base import Precision
from corom.errors import InputError
from corom.evaluation import Dense, evaluate, to_json, to_markdown
from corom.evaluation.lexical import Lexical
from corom.extras import need
from corom.files import MANIFEST, atomic_folder, check_manifest, read_json, write_bytes, write_json
from corom.models.checkpoint import load_checkpoint
from corom.models.names import resolve
from corom.readers import open_dataset
from corom.training.finetune import train
from corom.training.loop import start_accelerator
from corom.training.mining import mine
from corom.training.pretraining import pretrain
from corom.training.progress import Counted, Progress
from corom.training.recipe import as_table, from_table, merged, read_toml
from corom.training.retrieval import cuda_device
from corom.training.rows import output_names
from corom.training.run_settings import check
from corom.training.sampling import sample
from corom.training.settings import (
    MineSettings,
    PretrainSettings,
    SampleSettings,
    TrainSettings,
)
from corom.training.soup import average

CARD = "README.md"
_AVERAGE = (
    "\n## 平均 / Average\n\n权重 / weights: {parts}。上面的数字是平均之前的。"
    "The figures above are from before.\n"
)
SAMPLED, PRETRAINED, STAGE1, MINED = "0-sampled", "0-pretrained", "1-stage1", "2-mined"
STAGE2, AVERAGED, EVALUATED = "3-stage2", "4-averaged", "5-evaluated"
VECTORS, STATES = "vectors", "states"
_MADE_OF = "made-of.json"


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
        for name in ("keep_base", "keep_stage1"):
            check(0 <= getattr(self, name) < 1, f"{name} is a share: 0 to below 1")
        check(self.keep_base + self.keep_stage1 < 1, "keep_base + keep_stage1: below 1 together")


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
    models = {"base": steps.stage1.model, STAGE1: f"{steps.stage1.output}/model"}
    models[STAGE2] = str(train(steps.stage2, progress=to(STAGE2)).model)
    if recipe.keep_base or recipe.keep_stage1:
        target = Path(recipe.output) / AVERAGED / "model"
        trained = dict(models)
        _alone(accelerator, lambda: _average(recipe, trained, target.parent))
        models[AVERAGED] = str(target)
    if (wanted := recipe.evaluate) is not None:
        # As it is trained from: a base whose folder says nothing of lengths is judged by cosine.
        unit = True if steps.stage1.loss.similarity == "cosine" else None
        _alone(accelerator, lambda: _evaluate(wanted, models, Path(recipe.output), normalize=unit))
    return Path(list(models.values())[-1])


def _alone(accelerator: Accelerator, step: Callable[[], object]) -> None:
    if accelerator.is_main_process:
        step()
    accelerator.wait_for_everyone()


def _placed(table: Mapping[str, Any], name: str, *, model: object, output: Path) -> dict[str, Any]:
    for key in ("model", "output"):
        if key in table:
            raise InputError(f"{name}.{key} is set by the recipe's {key}; remove it")
    return {**table, "model": str(model), "output": str(output)}


def _average(recipe: TwoStageSettings, models: Mapping[str, str], target: Path) -> None:
    """Write the average of stage 2's model, stage 1's and the base, with stage 2's card."""
    base, stage1 = recipe.keep_base, recipe.keep_stage1
    parts = {STAGE2: 1 - base - stage1, STAGE1: stage1, "base": base}
    shares = {resolve(models[name]): share for name, share in parts.items() if share}
    made_of = {load_checkpoint(folder).fingerprint: share for folder, share in shares.items()}
    if _is_made(target, {"shares": made_of}):
        return
    with atomic_folder(target) as draft:
        card = (resolve(models[STAGE2]) / CARD).read_text(encoding="utf-8")
        named = {STAGE2: STAGE2, STAGE1: STAGE1, "base": models["base"]}
        listed = [f"{share:.0%} `{named[name]}`" for name, share in parts.items() if share]
        remark = _AVERAGE.format(parts=", ".join(listed))
        average(list(shares), draft / "model", shares=list(shares.values()), card=card + remark)
        write_json(draft / _MADE_OF, {"shares": made_of})


def _is_made(target: Path, made_of: Mapping[str, Any]) -> bool:
    """Whether a step's folder is there; InputError if it was made from anything else."""
    if not (target / MANIFEST).exists():
        return False
    check_manifest(target)
    if read_json(target / _MADE_OF) != made_of:
        raise InputError(f"{target} was made from other models or data; remove it to make it anew")
    return True


def _evaluate(
    settings: EvaluateSettings, models: Mapping[str, str], output: Path, *, normalize: bool | None
) -> None:
    """Write the figures of the base, of both stages and of their average, whole corpus."""
    need("ir_measures", extra="train")
    target = output / EVALUATED
    dataset = open_dataset(settings.folder)
    load = partial(Encoder.load, device=cuda_device() or "auto", precision=settings.precision)
    encoders = {name: load(m) for name, m in models.items()}
    made_of = {
        "settings": as_table(settings),
        "models": {name: encoder.fingerprint for name, encoder in encoders.items()},
        "normalize": normalize,
        "data": dataset.checksum(),
    }
    if _is_made(target, made_of):
        return
    dense = [
        Dense(encoder, name=name, work=output / VECTORS, normalize=normalize)
        for name, encoder in encoders.items()
    ]
    report = evaluate(
        dataset,
        [*dense, *([Lexical()] if settings.bm25 else [])],
        splits=settings.splits,
        measures=settings.measures,
        depth=settings.depth,
    )
    with atomic_folder(target) as draft:
        write_json(draft / _MADE_OF, made_of)
        write_json(draft / "report.json", to_json(report))
        write_bytes(draft / "README.md", to_markdown(report).encode())
