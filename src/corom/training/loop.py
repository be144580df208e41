"""The one training loop: batches in, checkpoints and a log out; fine-tuning and pre-training alike.

What is trained is a `Task`. Distribution is accelerate's: started by `torchrun` or `accelerate
launch` every process runs this loop over its share of each batch, and DDP averages the gradients.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from corom.errors import InputError, TrainingError
from corom.training.checkpoints import Progressed, checkpoints, load_state, prune, save_state
from corom.training.gradient_cache import backward
from corom.training.heap import freed_memory_kept, has_room
from corom.training.logs import Log
from corom.training.optimizer import make_optimizer, rate_share, set_rate
from corom.training.processes import uses_bf16
from corom.training.progress import Progress, Report
from corom.training.run_settings import OptimizerSettings, RunSettings

B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")


class Task(Protocol[B, C]):
    """What the loop trains: a module, its batches and what they are judged by."""

    model: nn.Module
    layers: int
    batches: int

    def batch(self, number: int) -> B:
        """Return this process's share of batch `number` (from 0): a pure function, on the CPU."""
        ...

    def texts(self, batch: B) -> int:
        """Return how many texts of the batch all processes read together."""
        ...

    def chunks(self, batch: B) -> Sequence[C]:
        """Return the batch cut into what goes through the model at once."""
        ...

    def encode(
        self, model: nn.Module, chunk: C, *, vectors_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return a chunk's vectors and its own loss (see `gradient_cache.Encode`)."""
        ...

    def objective(self, vectors: Tensor, batch: B) -> Tensor:
        """Return the loss of the vectors of all chunks."""
        ...


class Loop:
    """A run of a `Task` in `folder`, resumed from its newest checkpoint if there is one.

    `dev` returns a figure (higher is better) every `evaluate_every` steps and at the end.
    """

    def __init__(
        self,
        task: Task[Any, Any],
        folder: Path,
        *,
        accelerator: Accelerator,
        optimizer: OptimizerSettings,
        run: RunSettings,
        dev: Callable[[], float] | None = None,
        evaluate_every: int = 0,
        patience: int = 0,
    ) -> None:
        self.task, self.folder, self.accelerator = task, folder, accelerator
        self.settings, self.run_settings = optimizer, run
        self.dev, self.evaluate_every, self.patience = dev, evaluate_every, patience
        self.steps = task.batches // optimizer.accumulate
        if self.steps < 1:
            raise InputError("the data does not fill one step: lower optimizer.batch")
        self.bf16 = uses_bf16(run.precision, device=accelerator.device)
        task.model.to(accelerator.device)
        self.optimizer = make_optimizer(task.model, optimizer, layers=task.layers)
        self.model = accelerator.prepare_model(task.model)
        self.progressed = self._resume()

    def _resume(self) -> Progressed:
        found = checkpoints(self.folder)
        if not found:
            return Progressed()
        return load_state(found[-1], self.task.model, optimizer=self.optimizer)

    def run(self, report: Report | None = None) -> Progressed:
        """Train to the end (or until patience is lost) and return how it went."""
        first, main = self.progressed.step, self.accelerator.is_main_process
        log = None
        if main:
            log = Log(self.folder, step=first, tensorboard=self.run_settings.tensorboard)
        numbers = range(first * self.settings.accumulate, self.steps * self.settings.accumulate)
        batches = _ahead(self.task.batch, numbers)
        try:
            with ExitStack() as memory:
                for step in range(first + 1, self.steps + 1):
                    if self._is_lost():
                        break
                    started = time.perf_counter()
                    progress = self._step(step, batches)
                    self._note(progress, log=log, started=started)
                    if report and main:
                        report(progress)
                    # How much memory it takes is known from the first step on.
                    if step == first + 1 and self._may_keep_memory():
                        memory.enter_context(freed_memory_kept())
        finally:
            batches.close()
            if log:
                log.close()
        return self.progressed

    def _may_keep_memory(self) -> bool:
        on_cpu = self.accelerator.device.type == "cpu"
        return on_cpu and has_room(processes=self.accelerator.num_processes)

    def _is_lost(self) -> bool:
        return 0 < self.patience <= self.progressed.evaluations_since_best

    def _step(self, step: int, batches: Iterator[Any]) -> Progress:
        started, texts, losses = time.perf_counter(), 0, []
        # Dropout is a pure function of (seed, step, process): nothing to keep for a resume.
        seed = (self.run_settings.seed * 1_000_003 + step) * 1009 + self.accelerator.process_index
        torch.manual_seed(seed % 2**63)
        self.model.train()
        for number in range(1, self.settings.accumulate + 1):
            batch = next(batches)
            texts += self.task.texts(batch)
            losses.append(self._backward(batch, last=number == self.settings.accumulate))
        rate = self._update(step)
        loss = float(self.accelerator.reduce(torch.stack(losses).mean(), "mean"))
        if not math.isfinite(loss):
            raise TrainingError(self._broken(step))
        self.progressed.step = step
        self.progressed.loss_sum += loss
        self.progressed.batches += 1
        speed = texts / (time.perf_counter() - started)
        return Progress(step, self.steps, loss, rate, speed, self._evaluate(step))

    def _backward(self, batch: Any, *, last: bool) -> Tensor:  # noqa: ANN401 - the task's own
        def encode(chunk: Any, *, vectors_only: bool = False) -> tuple[Tensor, Tensor | None]:  # noqa: ANN401
            # Without a graph nothing is to be shared, and DDP need not know.
            model = self.task.model if vectors_only else self.model
            with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.bf16):
                return self.task.encode(model, chunk, vectors_only=vectors_only)

        def unsynced() -> Any:  # noqa: ANN401 - accelerate's context
            return self.accelerator.no_sync(self.model)

        with nullcontext() if last else unsynced():
            return backward(
                self.task.chunks(batch),
                encode,
                lambda vectors: self.task.objective(vectors, batch),
                device=self.accelerator.device,
                scale=1 / self.settings.accumulate,
                unsynced=unsynced,
            )

    def _update(self, step: int) -> float:
        limit = self.settings.clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.task.model.parameters(), limit)
        if not math.isfinite(float(norm)):
            raise TrainingError(self._broken(step))
        share = rate_share(
            step,
            steps=self.steps,
            warmup=self.settings.warmup,
            schedule=self.settings.schedule,
        )
        set_rate(self.optimizer, self.settings.learning_rate * share)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return self.settings.learning_rate * share

    def _broken(self, step: int) -> str:
        found = checkpoints(self.folder)
        kept = f"the last checkpoint, {found[-1].name}, is intact" if found else "nothing is kept"
        return (
            f"the loss or its gradient is not a finite number at step {step}; {kept}. "
            "Lower the learning rate, raise the temperature or the warm-up, or use fp32"
        )

    def _evaluate(self, step: int) -> float | None:
        due = step == self.steps or (self.evaluate_every and step % self.evaluate_every == 0)
        if self.dev is None or not due:
            return None
        figure = self.dev()
        self.progressed.dev[str(step)] = figure
        self.progressed.evaluations_since_best += 1
        if self.progressed.best_dev is None or figure > self.progressed.best_dev:
            self.progressed.best_dev, self.progressed.best_step = figure, step
            self.progressed.evaluations_since_best = 0
        return figure

    def _note(self, progress: Progress, *, log: Log | None, started: float) -> None:
        state, step = self.progressed, progress.step
        state.seconds += time.perf_counter() - started
        ended = step == self.steps or self._is_lost()
        if ended or step % self.run_settings.log_every == 0:
            if log:
                log.write(
                    step,
                    loss=state.loss_sum / state.batches,
                    learning_rate=progress.learning_rate,
                    texts_per_s=round(progress.texts_per_s, 1),
                )
            state.loss_sum, state.batches = 0.0, 0
        if log and progress.dev is not None:
            log.write(step, dev=progress.dev)
        if ended or progress.dev is not None or step % self.run_settings.checkpoint_every == 0:
            if self.accelerator.is_main_process:
                save_state(self.folder, self.task.model, optimizer=self.optimizer, progressed=state)
                prune(self.folder, keep=self.run_settings.keep, best_step=state.best_step)
            self.accelerator.wait_for_everyone()


def _ahead(function: Callable[[int], T], numbers: Sequence[int]) -> Generator[T, None, None]:
    """Yield `function` of each number, the next one computed meanwhile in another thread."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = deque(pool.submit(function, number) for number in numbers[:1])
        for number in numbers[1:]:
            coming.append(pool.submit(function, number))
            yield coming.popleft().result()
        if coming:
            yield coming.popleft().result()
