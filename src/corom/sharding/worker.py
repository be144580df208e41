"""What encodes shards: in this process, in a worker process, or in an actor of Ray."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from corom.encoder import Encoder, Progress
from corom.engines.base import EngineName, Precision
from corom.errors import ArtifactError, CoromError
from corom.sharding.plan import Plan, ShardTask
from corom.sharding.shards import Receipt, write_shard
from corom.sharding.spec import ShardSpec

_OFTEN = 0.25
"""Seconds between reports of what a worker is at."""


@dataclass(frozen=True)
class Job:
    """All a worker needs to know, wherever it runs; `folder` is the same place for all."""

    folder: Path
    plan: Plan
    spec: ShardSpec
    device: str = "auto"


class ShardEncoder:
    """Encodes and writes one shard after another."""

    def __init__(self, job: Job, *, worker: int = 0) -> None:
        """Load the model; ArtifactError if it is not the one the job was planned with."""
        self._job, spec = job, job.spec
        devices = job.device.split(",")
        self._encoder = Encoder.load(
            spec.model,
            engine=cast("EngineName", spec.engine),
            precision=cast("Precision", spec.precision),
            max_length=spec.max_length,
            threads=spec.threads,
            device=devices[worker % len(devices)],
        )
        if self._encoder.fingerprint != spec.fingerprint:
            raise ArtifactError(
                f"{spec.model} is the model {self._encoder.fingerprint} here and "
                f"{spec.fingerprint} where the work began; put the same model everywhere"
            )

    def encode(self, task: ShardTask, *, progress: Callable[[int], None] | None = None) -> Receipt:
        """Encode a shard and write it; `progress` is told how many texts of it are done."""
        passages, spec = self._job.plan.passages(task), self._job.spec
        method = (
            self._encoder.encode_queries if spec.side == "query" else self._encoder.encode_passages
        )
        last = Progress(0, 0, 0)

        def note(now: Progress) -> None:
            nonlocal last
            last = now
            if progress:
                progress(now.done)

        vectors = method(
            [passage.content for passage in passages],
            normalize=spec.normalized,
            truncate_dim=spec.dim,
            progress=note,
        )
        return write_shard(
            self._job.folder,
            task,
            [passage.id for passage in passages],
            vectors,
            spec=spec,
            truncated=last.truncated,
            tokens=last.tokens,
        )


def serve(connection: Connection, job: Job, worker: int) -> None:
    """Encode what comes over `connection` until it closes; the main function of a process.

    Sends `("done", receipt)`, `("part", texts so far)` and `("error", error)`. Ends at once when
    the process that started it does, however that one ended.
    """
    # A Ctrl-C goes to everybody in the terminal: the driver decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    report = _Report(connection)
    try:
        if job.spec.engine == "torch":
            import torch

            torch.set_num_threads(job.spec.threads)
        encoder = ShardEncoder(job, worker=worker)
        while True:
            report("done", encoder.encode(connection.recv(), progress=report.part))
    except EOFError:
        return
    except (CoromError, OSError) as error:
        report("error", error)


class _Report:
    """Messages to the driver; the engine's threads may send some at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._last = time.monotonic()

    def __call__(self, kind: str, value: object) -> None:
        with self._lock, suppress(BrokenPipeError):  # no driver any more: the end is near
            self._connection.send((kind, value))

    def part(self, done: int) -> None:
        if time.monotonic() - self._last > _OFTEN:
            self._last = time.monotonic()
            self("part", done)


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
