"""Texts of many requests, one engine: what waits is batched as the engine gets free.

The engine reads an endless stream of batches for as long as something waits: an idle server
starts with the first text at once, a busy one fills every batch from all requests that wait.
Whose turn it is, `jobs` says. As everywhere, only texts of one padded length meet in a batch,
unless the engine skips padding: a vector never depends on load.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from corom.serving.errors import ApiError, draining, internal, overloaded
from corom.serving.jobs import Job, JobQueue, Share
from corom.serving.reading import Reader
from corom.serving.settings import MAX_TOKENS
from corom.tokens import Batch, pad, padded_lengths
from corom.vectors import Vectors

# Cutting so many characters into tokens takes well under a millisecond: not worth a thread.
_CUT_AT_ONCE = 1000
# The engine's speed is that of its last busy spell, of so many seconds; a lone text is mostly
# overhead.
_BUSY_S, _SPELL_S = 0.1, 2.0
# Padded tokens a second, until measured.
_RATE = 1000.0


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


class Batcher:
    """The bounded queue in front of a reader's engine, and the thread that empties it.

    A request is refused at once if its turn would come later than `max_wait_s`, or its end later
    than `max_done_s`: work that ends after its deadline is done for nobody. `observe` is told texts
    and tokens of every batch, from another thread.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        max_queued_tokens: int,
        max_wait_s: float,
        max_done_s: float,
        observe: Callable[[int, int], None],
    ) -> None:
        self._reader, self._observe = reader, observe
        self._most, self._max_wait_s, self._max_done_s = max_queued_tokens, max_wait_s, max_done_s
        self._queue = JobQueue(batch_tokens=reader.batch_tokens)
        self._running: dict[int, tuple[Job, int]] = {}
        self._tickets = count()
        self._spent = 0
        self._since = time.monotonic()
        self._rate = _RATE
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="corom-batcher", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def expect(self, tokens_per_second: float) -> None:
        """Take the engine to be so fast, until it was busy for a while."""
        self._rate = max(1.0, tokens_per_second)

    @property
    def waiting(self) -> Waiting:
        """What the engine has not begun."""
        return Waiting(len(self._queue), self._queue.tokens)

    @property
    def retry_after_s(self) -> int:
        """In how many seconds what waits now will be done, 1 to 60."""
        return min(60, max(1, math.ceil(self._queue.tokens / self._rate)))

    async def encode(self, *, queries: Sequence[str] = (), passages: Sequence[str] = ()) -> Encoded:
        """Return the vectors of what the reader makes of them; cancel the call to give them up.

        Raises ApiError: 413 for too many tokens, 429 when the queue is full or too slow, 500 when
        the model fails at one of the texts, 503 when the server shuts down.
        """
        if sum(map(len, queries)) + sum(map(len, passages)) <= _CUT_AT_ONCE:
            tokens = self._reader.cut(queries, passages)
        else:
            tokens = await asyncio.to_thread(self._reader.cut, queries, passages)
        total = sum(len(item.ids) for item in tokens)
        if total > MAX_TOKENS:
            message = f"{total} tokens in one request; send at most {MAX_TOKENS}"
            raise ApiError(413, message, code="too_many_tokens")
        truncated = [row for row, item in enumerate(tokens) if item.truncated]
        reader = self._reader
        job = Job(tokens, dim=reader.dim, longest=reader.max_length, packed=reader.packs)
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
            waiting = self._queue.clear()
            self._changed.notify()
        for job in waiting:
            job.finish(draining())
        self._thread.join()

    def _put(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                raise draining()
            if self._is_late(job.left) or self._queue.tokens + job.left > self._most:
                raise overloaded("the queue is full", retry_after_s=self.retry_after_s)
            self._queue.add(job)
            self._changed.notify()

    def _is_late(self, cost: int) -> bool:
        """Return whether a request of `cost` tokens would wait too long, or end too late.

        Where nothing is ahead of it a request is taken, however large.
        """
        if not (ahead := self._queue.ahead(cost)):
            return False
        wait_s, done_s = ahead / self._rate, (ahead + cost) / self._rate
        return wait_s > self._max_wait_s or done_s > self._max_done_s

    def _drop(self, job: Job) -> None:
        with self._changed:
            self._queue.drop(job)

    def _work(self) -> None:
        while self._wait():
            self._since, self._spent = time.monotonic(), 0
            try:
                self._reader.run(self._batches(), self._deliver)
            except Exception:  # noqa: BLE001 - whatever it is, each request has to hear of it
                self._run_one_by_one()

    def _wait(self) -> bool:
        """Return true when something waits, false when the batcher was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            return not self._closed

    def _batches(self) -> Iterator[Batch]:
        while (batch := self._next_batch()) is not None:
            self._observe(len(batch.rows), int(batch.lengths.sum()))
            yield batch

    def _next_batch(self) -> Batch | None:
        with self._changed:
            share = self._queue.take()
            return None if share is None else self._batch(share)

    def _batch(self, share: Share) -> Batch:
        """Return the batch; its `rows` are tickets that say whose vectors they are."""
        tickets = [next(self._tickets) for _ in share.rows]
        self._running.update(zip(tickets, share.rows, strict=True))
        ids = [job.tokens[row].ids for job, row in share.rows]
        lengths = np.fromiter(map(len, ids), np.int32, count=len(ids))
        return Batch(np.array(tickets, np.int64), pad(ids, share.width), lengths)

    def _deliver(self, batch: Batch, vectors: Vectors) -> None:
        finite = [bool(np.isfinite(vector).all()) for vector in vectors]
        with self._changed:
            packs = self._reader.packs
            self._spent += int(batch.lengths.sum()) if packs else batch.ids.size
            now = time.monotonic()
            if (elapsed := now - self._since) > _BUSY_S:
                self._rate = max(1.0, self._spent / elapsed)
            if elapsed > _SPELL_S:
                self._since, self._spent = now, 0
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
        """Run again what the engine dropped, each text alone, so that only the culprit fails.

        An engine that failed before it took a batch is given one: else it would fail for ever.
        """
        with self._changed:
            left = list(self._running.values())
            self._running.clear()
            if not left and (share := self._queue.take()) is not None:
                left = share.rows
        for job, row in left:
            if job.done.done():
                continue
            with self._changed:
                width = padded_lengths(
                    np.array([len(job.tokens[row].ids)], np.int32), longest=self._reader.max_length
                )
                batch = self._batch(Share(int(width[0]), [(job, row)]))
            try:
                self._reader.run(iter([batch]), self._deliver)
            except Exception:  # noqa: BLE001 - as above
                self._running.clear()
                job.finish(internal())
