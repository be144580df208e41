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

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

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
from corom.training.batches import Chunk, Cutters
from corom.training.card import model_card
from corom.training.checkpoints import Progressed, checkpoint_folder, checkpoints, load_weights
from corom.training.checks import check_shared
from corom.training.dev import Dev, RerankerDev
from corom.training.loop import Loop, Task
from corom.training.processes import uses_bf16
from corom.training.progress import Report
from corom.training.provenance import DATA, begin, checksums
from corom.training.settings import PretrainSettings, RerankerSettings, TrainSettings

RESULT = "result.json"

S = TypeVar("S", bound=TrainSettings | PretrainSettings | RerankerSettings)


@dataclass(frozen=True, kw_only=True)
class Run(Generic[S]):
    """A run: what is asked for, who takes part, what it starts from, and who is told of it."""

    settings: S
    accelerator: Accelerator
    base: Checkpoint
    report: Report | None = None

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.settings.output)

    def note_data(self, report: Mapping[str, Any]) -> None:
        """Write what the data held; the main process does."""
        if self.accelerator.is_main_process:
            write_json(self.folder / DATA, report)


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
    run: Run[S],
    work: Callable[[Run[S]], Finished],
    *,
    models: Iterable[str] = (),
    data: Iterable[str],
) -> Finished:
    """Return the result of a run: that of `work`, unless it is finished already.

    `models` and `data` are what it is made of beside its base and its dev set. Raises InputError
    where the folder holds another run, ArtifactError where another process is in this one.
    """
    settings, folder, accelerator = run.settings, run.folder, run.accelerator
    processes = accelerator.num_processes
    check_shared(settings.optimizer.batch, at="optimizer.batch", processes=processes)
    if accelerator.is_main_process:
        fingerprints = {name: open_model(name).fingerprint for name in models}
        paths = [*data, *([settings.dev.folder] if settings.dev else [])]
        inputs = {settings.model: run.base.fingerprint, **fingerprints, **checksums(paths)}
        begin(folder, settings, inputs=inputs)
    accelerator.wait_for_everyone()
    if (folder / RESULT).exists():
        return Finished(**{**read_json(folder / RESULT), "model": folder / "model"})
    with writer_lock(folder) if accelerator.is_main_process else nullcontext():
        return work(run)


def run_to_end(
    task: RunTask,
    run: Run[S],
    *,
    dev: Dev | RerankerDev | None,
    write: Callable[[Path, float | None], None],
) -> Finished:
    """Train (or go on training) and return the finished run.

    `write` gets the folder of the model, which has its final weights then, and its dev figure.
    """
    settings, accelerator = run.settings, run.accelerator
    figure = _in_evaluation(task, run, dev) if dev else None
    loop = Loop(
        task,
        run.folder,
        accelerator=accelerator,
        optimizer=settings.optimizer,
        run=settings.run,
        dev=figure,
        evaluate_every=_evaluate_every(run, per_epoch=task.per_epoch),
        patience=settings.dev.patience if settings.dev else 0,
    )
    progressed = loop.run(run.report)
    final_dev = _take_weights(task, run, state=progressed, dev=figure)
    finished = Finished(
        model=run.folder / "model",
        steps=progressed.step,
        best_step=progressed.best_step,
        dev=progressed.dev,
        final_dev=final_dev,
        seconds=round(progressed.seconds, 1),
    )
    if accelerator.is_main_process:
        if not finished.model.exists():  # a kill may have come between the two writes
            write(finished.model, final_dev)
        write_json(run.folder / RESULT, {**asdict(finished), "model": finished.model.name})
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return finished


def _in_evaluation(task: RunTask, run: Run[S], dev: Dev | RerankerDev) -> Callable[[], float]:
    """Return what gives the dev figure: without dropout, in the precision of the training."""
    device = run.accelerator.device
    bf16 = uses_bf16(run.settings.run.precision, device=device)

    def figure() -> float:
        task.model.eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return dev.figure(task.vectors)

    return figure


def _evaluate_every(run: Run[S], *, per_epoch: int) -> int:
    """Return after how many steps the dev figure is due: as asked, or once per epoch.

    `per_epoch` are the batches of a whole epoch, whatever `max_steps` leaves of the run.
    """
    settings = run.settings
    if settings.dev and settings.dev.every:
        return settings.dev.every
    return max(1, round(per_epoch / settings.optimizer.accumulate))


def _take_weights(
    task: RunTask, run: Run[S], *, state: Progressed, dev: Callable[[], float] | None
) -> float | None:
    """Put the weights of the finished model into the task's and return their dev figure."""
    finish = run.settings.finish
    taken = checkpoints(run.folder)[-finish.average_last :]
    if finish.average_last == 1 and finish.take == "best" and state.best_step:
        taken = [checkpoint_folder(run.folder, state.best_step)]
    bert: TorchBert = task.model.bert
    found = []
    for path in taken:
        load_weights(path, task.model)
        found.append(bert.export_weights())
    if len(found) == 1 and not finish.keep_base:
        return state.dev.get(str(int(taken[0].name.removeprefix("step-"))))
    mixed = mix(found, [1.0] * len(found))
    if finish.keep_base:
        mixed = mix([mixed, run.base.load_weights()], [1 - finish.keep_base, finish.keep_base])
    bert.load_weights(mixed)
    return dev() if dev else None


def open_dev(run: Run[TrainSettings] | Run[PretrainSettings], cutters: Cutters) -> Dev | None:
    """Return the dev set of an encoder's run, if it has one."""
    settings, seed = run.settings.dev, run.settings.run.seed
    if settings is None:
        return None
    return Dev(settings, seed=seed, accelerator=run.accelerator, cutters=cutters)


def write_encoder(
    task: RunTask, run: Run[S], encoding: Encoding, folder: Path, final_dev: float | None
) -> None:
    """Write the model folder of an encoder that was trained."""
    base, weights = run.base, task.model.bert.export_weights()
    model = Portable(base.shape, encoding, weights, base.tokenizer_json, dense=base.dense)
    card = model_card(run.folder, base=base, encoding=encoding, final_dev=final_dev)
    write_portable(folder, model, card=card)
