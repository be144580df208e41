"""The frame of a run: entered once, trained to its end, its model written with a card.

In the folder of a run:

    settings.json   what was asked, versions, checksums, commit
    data.json       what the data held and what was left out
    log.jsonl       loss, learning rate, texts/s; dev figures
    checkpoints/    full states
    model/          the finished model, card and all
    result.json     written last: the run is finished
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from accelerate import Accelerator
from torch import Tensor

from corom.engines.torch_bert import TorchBert
from corom.files import read_json, write_json, writer_lock
from corom.models.checkpoint import Checkpoint
from corom.models.config import Encoding
from corom.models.names import open_model
from corom.models.portable import Portable, write_portable
from corom.training.averaging import mix
from corom.training.batches import Chunk
from corom.training.card import model_card
from corom.training.checkpoints import Progressed, checkpoint_folder, checkpoints, load_weights
from corom.training.dev import Dev, RerankerDev
from corom.training.loop import Loop, Task
from corom.training.processes import uses_bf16
from corom.training.progress import Report
from corom.training.provenance import begin, checksums
from corom.training.settings import PretrainSettings, RerankerSettings, TrainSettings

RESULT = "result.json"

AnySettings: TypeAlias = TrainSettings | PretrainSettings | RerankerSettings


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


class RunTask(Task[Any, Any], Protocol):
    """A task whose model holds an encoder, `bert`, and can be judged on a dev set."""

    per_epoch: int
    """Batches of an epoch."""

    def vectors(self, chunk: Chunk) -> Tensor:
        """Return the vectors (or scores) of a chunk as the finished model will give them."""
        ...


def entered(
    settings: AnySettings,
    base: Checkpoint,
    *,
    models: Iterable[str] = (),
    data: Iterable[str],
    accelerator: Accelerator,
    work: Callable[[], Finished],
) -> Finished:
    """Return the result of a run: that of `work`, unless it is finished already.

    `models` and `data` are what it is made of beside its base and its dev set. Raises InputError
    where the folder holds another run, ArtifactError where another process is in this one.
    """
    folder = Path(settings.output)
    if accelerator.is_main_process:
        fingerprints = {name: open_model(name).fingerprint for name in models}
        dev = [settings.dev.folder] if settings.dev else []
        inputs = {settings.model: base.fingerprint, **fingerprints, **checksums([*data, *dev])}
        begin(folder, settings, inputs=inputs)
    accelerator.wait_for_everyone()
    if (folder / RESULT).exists():
        return Finished(**{**read_json(folder / RESULT), "model": folder / "model"})
    with writer_lock(folder) if accelerator.is_main_process else nullcontext():
        return work()


def run_to_end(
    task: RunTask,
    settings: AnySettings,
    *,
    base: Checkpoint,
    dev: Dev | RerankerDev | None,
    write: Callable[[Path, float | None], None],
    accelerator: Accelerator,
    report: Report | None,
) -> Finished:
    """Train (or go on training) and return the finished run.

    `write` gets the folder of the model, which has its final weights then, and its dev figure.
    """
    folder = Path(settings.output)
    figure = _in_evaluation(task, dev, settings, device=accelerator.device) if dev else None
    loop = Loop(
        task,
        folder,
        accelerator=accelerator,
        optimizer=settings.optimizer,
        run=settings.run,
        dev=figure,
        evaluate_every=_evaluate_every(settings, per_epoch=task.per_epoch),
        patience=settings.dev.patience if settings.dev else 0,
    )
    progressed = loop.run(report)
    final_dev = _take_weights(settings, task=task, base=base, state=progressed, dev=figure)
    finished = Finished(
        model=folder / "model",
        steps=progressed.step,
        best_step=progressed.best_step,
        dev=progressed.dev,
        final_dev=final_dev,
        seconds=round(progressed.seconds, 1),
    )
    if accelerator.is_main_process:
        if not finished.model.exists():  # a kill may have come between the two writes
            write(finished.model, final_dev)
        write_json(folder / RESULT, {**asdict(finished), "model": finished.model.name})
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return finished


def _in_evaluation(
    task: RunTask, dev: Dev | RerankerDev, settings: AnySettings, *, device: torch.device
) -> Callable[[], float]:
    """Return the dev figure's function: without dropout, in the precision of the training."""
    bf16 = uses_bf16(settings.run.precision, device=device)

    def figure() -> float:
        task.model.eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return dev.figure(task.vectors)

    return figure


def _evaluate_every(settings: AnySettings, *, per_epoch: int) -> int:
    """Return after how many steps the dev figure is due: as asked, or once per epoch.

    `per_epoch` are the batches of a whole epoch, whatever `max_steps` leaves of the run.
    """
    if settings.dev and settings.dev.every:
        return settings.dev.every
    return max(1, round(per_epoch / settings.optimizer.accumulate))


def _take_weights(
    settings: AnySettings,
    *,
    task: RunTask,
    base: Checkpoint,
    state: Progressed,
    dev: Callable[[], float] | None,
) -> float | None:
    """Put the weights of the finished model into the task's and return their dev figure."""
    folder, finish = Path(settings.output), settings.finish
    taken = checkpoints(folder)[-finish.average_last :]
    if finish.average_last == 1 and finish.take == "best" and state.best_step:
        taken = [checkpoint_folder(folder, state.best_step)]
    bert: TorchBert = task.model.bert
    found = []
    for path in taken:
        load_weights(path, task.model)
        found.append(bert.export_weights())
    if len(found) == 1 and not finish.keep_base:
        return state.dev.get(str(int(taken[0].name.removeprefix("step-"))))
    mixed = mix(found, [1.0] * len(found))
    if finish.keep_base:
        mixed = mix([mixed, base.load_weights()], [1 - finish.keep_base, finish.keep_base])
    bert.load_weights(mixed)
    return dev() if dev else None


def write_encoder(
    bert: TorchBert, folder: Path, final_dev: float | None, *, base: Checkpoint, encoding: Encoding
) -> None:
    """Write the model folder of an encoder that was trained."""
    weights = bert.export_weights()
    model = Portable(base.shape, encoding, weights, base.tokenizer_json, dense=base.dense)
    card = model_card(folder.parent, base=base, encoding=encoding, final_dev=final_dev)
    write_portable(folder, model, card=card)
