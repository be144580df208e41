"""Worker processes that may be killed: what one was doing goes to another.

`concurrent.futures` gives up the whole pool when one process is killed; this one starts another
in its place. A task is handed out until its result is there, so results come exactly once.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from corom.errors import CoromError
from corom.sharding.plan import ShardTask
from corom.sharding.shards import Receipt
from corom.sharding.worker import Job, serve

ATTEMPTS = 10
"""How often a worker may end over one shard before that counts as the shard's fault."""


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    tasks: deque[ShardTask] = field(default_factory=deque)
    """the one at work, and the next one: no worker waits for the driver"""
    part: int = 0


class _Pool:
    def __init__(self, job: Job, tasks: Sequence[ShardTask], show: Callable[[int], None]) -> None:
        self._job, self._show = job, show
        self._waiting = deque(tasks)
        self._workers: list[_Worker | None] = []
        self._ends: Counter[int] = Counter()
        # A forked child of a process that has run OpenVINO's threads may hang.
        self._context = multiprocessing.get_context("spawn")

    def run(self, workers: int) -> Iterator[Receipt]:
        self._workers = [None] * min(workers, len(self._waiting))
        try:
            while self._waiting or any(w and w.tasks for w in self._workers):
                self._fill()
                yield from self._listen()
        finally:
            self._stop()

    def _fill(self) -> None:
        for place, worker in enumerate(self._workers):
            if worker is None and self._waiting:
                worker = self._workers[place] = self._start(place)
            # The second task only while there are enough for everybody.
            wanted = 2 if len(self._waiting) > len(self._workers) else 1
            while worker and self._waiting and len(worker.tasks) < wanted:
                task = self._waiting.popleft()
                worker.tasks.append(task)
                try:
                    worker.connection.send(task)
                except OSError:
                    break  # it has just ended: _listen gives its tasks to another

    def _start(self, place: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._job, place), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _listen(self) -> Iterator[Receipt]:
        """Yield what is finished, waiting for at least one message."""
        alive = [worker for worker in self._workers if worker]
        ready = wait([worker.connection for worker in alive])
        for place, worker in enumerate(self._workers):
            if worker is None or worker.connection not in ready:
                continue
            try:
                kind, value = worker.connection.recv()
            except (EOFError, OSError):
                self._replace(place, worker)
                continue
            if kind == "error":
                raise value
            worker.part = value if kind == "part" else 0
            if kind == "done":
                worker.tasks.popleft()
                yield value
            self._show(sum(each.part for each in self._workers if each))

    def _replace(self, place: int, worker: _Worker) -> None:
        worker.process.join()
        self._workers[place] = None
        if not worker.tasks:
            return
        number = worker.tasks[0].number
        self._ends[number] += 1
        if self._ends[number] >= ATTEMPTS:
            raise CoromError(
                f"shard {number}: {ATTEMPTS} workers ended over it, the last with exit code "
                f"{worker.process.exitcode} (-9: killed, perhaps for want of memory); take fewer "
                "workers or smaller shards, or look at what they wrote to standard error"
            )
        self._waiting.extendleft(reversed(worker.tasks))

    def _stop(self) -> None:
        for worker in filter(None, self._workers):
            worker.process.kill()
        for worker in filter(None, self._workers):
            worker.process.join()
            worker.connection.close()


def run_processes(
    job: Job, tasks: Sequence[ShardTask], *, workers: int, show: Callable[[int], None]
) -> Iterator[Receipt]:
    """Yield the receipt of every task, in the order they are finished.

    `show` is told how many texts of unfinished shards are done. Raises what a worker raised, and
    CoromError when workers keep ending over the same shard. No process outlives the iterator.
    """
    return _Pool(job, tasks, show).run(workers)
