"""The frame of a run: loop, choice of weights, the finished model folder with its card.

In the folder of a run:

    settings.json   what was asked, versions, checksums, commit
    data.json       what the data held and what was left out
    log.jsonl       loss, learning rate, texts/s; dev figures
    checkpoints/    full states
    model/          the finished model, card and all
    result.json     written last: the run is finished
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from torch import Tensor

from corom.engines.torch_bert import TorchBert
from corom.files import read_json, write_json
from corom.models.checkpoint import Checkpoint
from corom.models.config import Encoding
from corom.models.portable import Portable, write_portable
from corom.training.averaging import Weights, mix
from corom.training.batches import Chunk, Cutters
from corom.training.card import model_card
from corom.training.checkpoints import Progressed, checkpoint_folder, checkpoints, load_weights
from corom.training.dev import Dev
from corom.training.loop import Loop, Task, in_evaluation
from corom.training.progress import Report
from corom.training.run_settings import FinishSettings
from corom.training.settings import PretrainSettings, RerankerSettings, TrainSettings

RESULT = "result.json"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished run."""

    model: Path
    steps: int
    best_step: int
    """The step with the best dev figure; 0 without a dev set."""
    dev: dict[str, float]
    """Step -> the dev set's measure."""
    final_dev: float | None
    """That of the finished model."""
    seconds: float


class EncoderTask(Task[Any, Any], Protocol):
    """A task whose model holds an encoder, `bert`."""

    cutters: Cutters
    per_epoch: int
    """Batches of an epoch."""

    def vectors(self, chunk: Chunk) -> Tensor:
        """Return a chunk's vectors as the finished model will give them."""
        ...


def read_finished(folder: Path) -> Finished | None:
    """Return the result of a finished run, or None where it is not finished."""
    if not (folder / RESULT).exists():
        return None
    found = read_json(folder / RESULT)
    return Finished(**{**found, "model": folder / "model"})


def run_to_end(
    task: EncoderTask,
    settings: TrainSettings | PretrainSettings,
    *,
    base: Checkpoint,
    encoding: Encoding,
    accelerator: Accelerator,
    report: Report | None,
) -> Finished:
    """Train (or go on training) and return the finished run, its model written."""
    folder = Path(settings.output)
    dev = _dev_figure(task, settings, accelerator=accelerator)
    loop = Loop(
        task,
        folder,
        accelerator=accelerator,
        optimizer=settings.optimizer,
        run=settings.run,
        dev=dev,
        evaluate_every=evaluate_every(settings, per_epoch=task.per_epoch),
        patience=settings.dev.patience if settings.dev else 0,
    )
    progressed = loop.run(report)
    final_dev = _take_weights(
        folder, settings.finish, task=task, base=base, state=progressed, dev=dev
    )
    finished = Finished(
        model=folder / "model",
        steps=progressed.step,
        best_step=progressed.best_step,
        dev=progressed.dev,
        final_dev=final_dev,
        seconds=round(progressed.seconds, 1),
    )
    if accelerator.is_main_process:
        _write(finished, task.model.bert, base=base, encoding=encoding)
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return finished


def evaluate_every(
    settings: TrainSettings | PretrainSettings | RerankerSettings, *, per_epoch: int
) -> int:
    """Return after how many steps the dev figure is due: as asked, or once per epoch.

    `per_epoch` are the batches of a whole epoch, whatever `max_steps` leaves of the run.
    """
    if settings.dev and settings.dev.every:
        return settings.dev.every
    return max(1, round(per_epoch / settings.optimizer.accumulate))


def _dev_figure(
    task: EncoderTask, settings: TrainSettings | PretrainSettings, *, accelerator: Accelerator
) -> Callable[[], float] | None:
    if settings.dev is None:
        return None
    seed = settings.run.seed
    dev = Dev(settings.dev, seed=seed, accelerator=accelerator, cutters=task.cutters)
    return in_evaluation(
        lambda: dev.figure(task.vectors),
        task.model,
        precision=settings.run.precision,
        device=accelerator.device,
    )


def _take_weights(
    folder: Path,
    settings: FinishSettings,
    *,
    task: EncoderTask,
    base: Checkpoint,
    state: Progressed,
    dev: Callable[[], float] | None,
) -> float | None:
    """Put the weights of the finished model into the task's and return their dev figure."""
    newest = checkpoints(folder)[-settings.average_last :]
    if settings.average_last == 1 and settings.take == "best" and state.best_step:
        newest = [checkpoint_folder(folder, state.best_step)]
    bert: TorchBert = task.model.bert
    found: list[Weights] = []
    for path in newest:
        load_weights(path, task.model)
        found.append(bert.export_weights())
    mixed = mix(found, [1.0] * len(found))
    if settings.keep_base:
        mixed = mix([mixed, base.load_weights()], [1 - settings.keep_base, settings.keep_base])
    bert.load_weights(mixed)
    if len(found) > 1 or settings.keep_base:
        return dev() if dev else None
    step = int(newest[0].name.removeprefix("step-"))
    return state.dev.get(str(step))


def _write(finished: Finished, bert: TorchBert, *, base: Checkpoint, encoding: Encoding) -> None:
    folder = finished.model.parent
    if not finished.model.exists():  # a kill may have come between the two writes
        weights = bert.export_weights()
        model = Portable(base.shape, encoding, weights, base.tokenizer_json, dense=base.dense)
        card = model_card(folder, base=base, encoding=encoding, final_dev=finished.final_dev)
        write_portable(finished.model, model, card=card)
    write_finished(finished)


def write_finished(finished: Finished) -> None:
    """Write the run's result, the last of its files."""
    folder = finished.model.parent
    write_json(folder / RESULT, {**asdict(finished), "model": finished.model.name})
