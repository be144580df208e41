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
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from corom.encoder import Encoder
from corom.evaluation import Dense, evaluate, to_json, to_markdown
from corom.evaluation.lexical import Lexical
from corom.extras import need
from corom.files import write_bytes, write_json
from corom.models.checkpoint import load_checkpoint
from corom.models.names import resolve
from corom.readers import open_dataset
from corom.training.averaging import average
from corom.training.finetune import train
from corom.training.mining import mine
from corom.training.pretraining import pretrain
from corom.training.processes import start_accelerator
from corom.training.progress import Counted, Progress
from corom.training.provenance import REPORT, made_once
from corom.training.recipe import (
    AVERAGED,
    EVALUATED,
    MINED,
    PRETRAINED,
    STAGE1,
    STAGE2,
    VECTORS,
    EvaluateSettings,
    TwoStageSettings,
    check_steps,
    steps_of,
)
from corom.training.retrieval import cuda_device
from corom.training.sampling import sample
from corom.training.tables import as_table

CARD = "README.md"
_AVERAGE = (
    "\n## 平均 / Average\n\n权重 / weights: {parts}。上面的数字是平均之前的。"
    "The figures above are from before.\n"
)
_MADE_OF = "made-of.json"


StepReport = Callable[[str, Progress | Counted], None]
"""Called with the name of a step's folder and its progress."""


def two_stage(recipe: TwoStageSettings, *, progress: StepReport | None = None) -> Path:
    """Run every step that is not done yet and return the folder of the finished model.

    Under `torchrun` or `accelerate launch` the processes share pre-training and training; mining
    and evaluation are the main process's. Raises what the steps raise, and before the first one
    what `check_steps` finds.
    """
    steps = steps_of(recipe)
    check_steps(recipe, steps)
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


def _average(recipe: TwoStageSettings, models: Mapping[str, str], target: Path) -> None:
    """Write the average of stage 2's model, stage 1's and the base, with stage 2's card."""
    base, stage1 = recipe.keep_base, recipe.keep_stage1
    parts = {STAGE2: 1 - base - stage1, STAGE1: stage1, "base": base}
    shares = {resolve(models[name]): share for name, share in parts.items() if share}
    made_of = {load_checkpoint(folder).fingerprint: share for folder, share in shares.items()}

    def write(draft: Path) -> dict[str, Any]:
        card = (resolve(models[STAGE2]) / CARD).read_text(encoding="utf-8")
        named = {STAGE2: STAGE2, STAGE1: STAGE1, "base": models["base"]}
        listed = [f"{share:.0%} `{named[name]}`" for name, share in parts.items() if share]
        remark = _AVERAGE.format(parts=", ".join(listed))
        average(list(shares), draft / "model", shares=list(shares.values()), card=card + remark)
        return {}

    made_once(target, {"shares": made_of}, write, record=_MADE_OF)


def _evaluate(
    settings: EvaluateSettings, models: Mapping[str, str], output: Path, *, normalize: bool | None
) -> None:
    """Write the figures of the base, of both stages and of their average, whole corpus."""
    need("ir_measures", extra="train")
    dataset = open_dataset(settings.folder)
    load = partial(Encoder.load, device=cuda_device() or "auto", precision=settings.precision)
    encoders = {name: load(m) for name, m in models.items()}

    def write(draft: Path) -> dict[str, Any]:
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
        write_json(draft / REPORT, to_json(report))
        write_bytes(draft / CARD, to_markdown(report).encode())
        return {}

    made_of = {
        "settings": as_table(settings),
        "models": {name: encoder.fingerprint for name, encoder in encoders.items()},
        "normalize": normalize,
        "data": dataset.checksum(),
    }
    made_once(output / EVALUATED, made_of, write, record=_MADE_OF)
