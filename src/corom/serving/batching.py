"""Texts of many requests, one engine: what waits is batched as the engine gets free.

The engine reads an endless stream of batches for as long as something waits: an idle server
starts with the first text at once, a busy one fills every batch from all requests that wait.
Requests take turns by batch, so one with a thousand texts does not hold up one with a single text.
As everywhere, only texts of one padded length meet in a batch: a vector never depends on load.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import NamedTuple, Protocol

import numpy as np

from corom.encoder import Side
from corom.serving.errors import ApiError, draining, internal, overloaded
from corom.serving.settings import MAX_TOKENS
from corom.tokens import Batch, Tokens, pad, padded_lengths
from corom.vectors import Vectors

# Cutting so many characters into tokens takes well under a millisecond: not worth a thread.
_CUT_AT_ONCE = 1000
# The engine's speed is that of busy spells so long; a lone text is mostly overhead.
_BUSY_S = 0.1


class BatchEncoder(Protocol):
    """What the batcher needs of an `Encoder`."""

    dim: int
    max_length: int
    batch_tokens: int

    def cut(self, texts: Sequence[str], *, side: Side) -> list[Tokens]: ...  # noqa: D102

    def run(  # noqa: D102
        self, batches: Iterator[Batch], receive: Callable[[Batch, Vectors], None]
    ) -> None: ...


class Encoded(NamedTuple):
    """The answer to one request."""

    vectors: Vectors
    """(n, dim), raw: neither truncated nor normalised"""
    tokens: int
    """of all texts, special ones included"""
    truncated: list[int]
    """positions of the texts longer than the model reads"""


class Waiting(NamedTuple):
    """What the engine has not begun."""

    requests: int
    tokens: int


class _Job:
    """One request: its texts by padded length, and the vectors that have come."""

    def __init__(self, tokens: list[Tokens], *, dim: int, longest: int) -> None:
        self.tokens = tokens
        self.vectors: Vectors = np.empty((len(tokens), dim), np.float32)
        self.missing = len(tokens)
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        lengths = np.fromiter((len(item.ids) for item in tokens), np.int32, count=len(tokens))
        widths = padded_lengths(lengths, longest=longest)
        self.left = int(widths.sum())  # padded tokens the engine has not begun
        self.by_width: dict[int, list[int]] = defaultdict(list)
        for row, width in enumerate(widths.tolist()):
            self.by_width[width].append(row)

    def take(self, width: int, room: int) -> list[int]:
        """Return up to `room` rows of this padded length; they no longer wait."""
        rows = self.by_width.get(width, [])
        taken = rows[:room]
        self.left -= width * len(taken)
        if len(taken) == len(rows):
            self.by_width.pop(width, None)
        else:
            del rows[:room]
        return taken

    def finish(self, error: ApiError | None = None) -> None:
        """Wake the request, from any thread; nothing happens if it has gone."""
        self.loop.call_soon_threadsafe(self._wake, error)

    def _wake(self, error: ApiError | None) -> None:
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


class Batcher:
    """The bounded queue in front of an encoder, and the thread that empties it.

    A request that would wait longer than `max_wait_s` is refused at once: work that ends after its
    deadline is done for nobody. `observe` is told texts and tokens of every batch, from another
    thread.
    """

    def __init__(
        self,
        encoder: BatchEncoder,
        *,
        max_queued_tokens: int,
        max_wait_s: float,
        observe: Callable[[int, int], None],
    ) -> None:
        self._encoder, self._observe = encoder, observe
        self._most, self._max_wait_s = max_queued_tokens, max_wait_s
        self._jobs: OrderedDict[_Job, None] = OrderedDict()
        self._running: dict[int, tuple[_Job, int]] = {}
        self._tickets = count()
        self._queued = self._spent = 0
        self._since = time.monotonic()
        self._rate = 1000.0  # tokens a second, until measured
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="corom-batcher", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def waiting(self) -> Waiting:
        """What the engine has not begun."""
        return Waiting(len(self._jobs), self._queued)

    @property
    def retry_after_s(self) -> int:
        """In how many seconds what waits now will be done, 1 to 60."""
        return min(60, max(1, math.ceil(self._queued / self._rate)))

    async def encode(self, *, queries: Sequence[str] = (), passages: Sequence[str] = ()) -> Encoded:
        """Return the vectors of `queries`, then of `passages`; cancel the call to give them up.

        Raises ApiError: 413 for too many tokens, 429 when the queue is full, 500 when the model
        fails at one of the texts, 503 when the server shuts down.
        """
        if sum(map(len, queries)) + sum(map(len, passages)) <= _CUT_AT_ONCE:
            tokens = self._cut(queries, passages)
        else:
            tokens = await asyncio.to_thread(self._cut, queries, passages)
        total = sum(len(item.ids) for item in tokens)
        if total > MAX_TOKENS:
            message = f"{total} tokens in one request; send at most {MAX_TOKENS}"
            raise ApiError(413, message, code="too_many_tokens")
        truncated = [row for row, item in enumerate(tokens) if item.truncated]
        job = _Job(tokens, dim=self._encoder.dim, longest=self._encoder.max_length)
        if tokens:
            self._put(job)
            try:
                await job.done
            finally:
                self._drop(job)
        return Encoded(job.vectors, total, truncated)

    def close(self) -> None:
        """Tell what waits that the server shuts down; return when the engine has stopped."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._queued = 0
            self._changed.notify()
        for job in waiting:
            job.finish(draining())
        self._thread.join()

    def _cut(self, queries: Sequence[str], passages: Sequence[str]) -> list[Tokens]:
        cut = self._encoder.cut
        return cut(queries, side="query") + cut(passages, side="passage")

    def _put(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise draining()
            late = self._jobs and self._wait_s(job.left) > self._max_wait_s
            if late or self._queued + job.left > self._most:
                raise overloaded("the queue is full", retry_after_s=self.retry_after_s)
            self._jobs[job] = None
            self._queued += job.left
            self._changed.notify()

    def _wait_s(self, cost: int) -> float:
        """Return in how many seconds a request of `cost` tokens would be done.

        Requests take turns by batch: of each that waits, no more than of this one comes before.
        """
        share = max(cost, self._encoder.batch_tokens)
        return (cost + sum(min(job.left, share) for job in self._jobs)) / self._rate

    def _drop(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                del self._jobs[job]
                self._queued -= job.left

    def _work(self) -> None:
        while self._wait():
            self._since, self._spent = time.monotonic(), 0
            try:
                self._encoder.run(self._batches(), self._deliver)
            except Exception:  # noqa: BLE001 - whatever it is, each request has to hear of it
                self._run_one_by_one()

    def _wait(self) -> bool:
        """Return true when something waits, false when the batcher was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            return not self._closed

    def _batches(self) -> Iterator[Batch]:
        while (batch := self._next_batch()) is not None:
            self._observe(len(batch.rows), int(batch.lengths.sum()))
            yield batch

    def _next_batch(self) -> Batch | None:
        """Return a batch of the first request's longest texts, filled up from the others."""
        with self._changed:
            if not self._jobs:
                return None
            head = next(iter(self._jobs))
            width = max(head.by_width)
            room = max(1, self._encoder.batch_tokens // width)
            taken: list[tuple[_Job, int]] = []
            for job in list(self._jobs):
                taken += [(job, row) for row in job.take(width, room - len(taken))]
                if not job.by_width:
                    del self._jobs[job]
                if len(taken) == room:
                    break
            if head in self._jobs:
                self._jobs.move_to_end(head)
            self._queued -= width * len(taken)
            return self._batch(taken, width)

    def _batch(self, taken: list[tuple[_Job, int]], width: int) -> Batch:
        """Return the batch; its `rows` are tickets that say whose vectors they are."""
        tickets = [next(self._tickets) for _ in taken]
        self._running.update(zip(tickets, taken, strict=True))
        ids = [job.tokens[row].ids for job, row in taken]
        lengths = np.fromiter(map(len, ids), np.int32, count=len(ids))
        return Batch(np.array(tickets, np.int64), pad(ids, width), lengths)

    def _deliver(self, batch: Batch, vectors: Vectors) -> None:
        finite = [bool(np.isfinite(vector).all()) for vector in vectors]
        with self._changed:
            self._spent += batch.ids.size
            if (elapsed := time.monotonic() - self._since) > _BUSY_S:
                self._rate = max(1.0, self._spent / elapsed)
            for ticket, vector, good in zip(batch.rows.tolist(), vectors, finite, strict=True):
                job, row = self._running.pop(ticket, (None, 0))
                if job is None:
                    continue
                if not good:
                    job.finish(internal())
                job.vectors[row] = vector
                job.missing -= 1
                if not job.missing:
                    job.finish()

    def _run_one_by_one(self) -> None:
        """Run again what the engine dropped, each text alone, so that only the culprit fails."""
        with self._changed:
            left = list(self._running.values())
            self._running.clear()
        for job, row in left:
            if job.done.done():
                continue
            with self._changed:
                width = padded_lengths(
                    np.array([len(job.tokens[row].ids)], np.int32), longest=self._encoder.max_length
                )
                batch = self._batch([(job, row)], int(width[0]))
            try:
                self._encoder.run(iter([batch]), self._deliver)
            except Exception:  # noqa: BLE001 - as above
                self._running.clear()
                job.finish(internal())
