"""Requests that wait for the engine, and in which order their texts are batched. No threads here.

Half of the engine goes to the request that came first, the rest to the one that has least left. So
a single text never waits for a thousand others, those thousand are not put off for ever, and of
many requests of one size the first is answered first, not all of them last. What fits into one
batch counts as one size.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from corom.serving.errors import ApiError
from corom.tokens import Tokens, padded_lengths
from corom.vectors import Vectors


class Job:
    """One request: its texts by padded length, and the vectors that have come.

    `packed`: for an engine that skips padding, so that a text's length is its own.
    """

    def __init__(
        self, tokens: list[Tokens], *, dim: int, longest: int, packed: bool = False
    ) -> None:
        self.tokens, self.packed = tokens, packed
        self.vectors: Vectors = np.empty((len(tokens), dim), np.float32)
        self.missing = len(tokens)
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        lengths = np.fromiter((len(item.ids) for item in tokens), np.int32, count=len(tokens))
        widths = lengths if packed else padded_lengths(lengths, longest=longest)
        self.left = int(widths.sum())  # padded tokens the engine has not begun
        self.by_width: dict[int, list[int]] = defaultdict(list)
        for row, width in enumerate(widths.tolist()):
            self.by_width[width].append(row)

    def fitting(self, longest: int) -> list[int]:
        """Return which lengths may join a batch whose longest text is so long, longest first."""
        if not self.packed:
            return [longest] if longest in self.by_width else []
        return sorted((width for width in self.by_width if width <= longest), reverse=True)

    def take(self, width: int, room: int) -> list[int]:
        """Return rows of this padded length for at most `room` tokens; they no longer wait."""
        rows = self.by_width.get(width, [])
        taken = rows[: room // width]
        self.left -= width * len(taken)
        if len(taken) == len(rows):
            self.by_width.pop(width, None)
        else:
            del rows[: len(taken)]
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


class Share(NamedTuple):
    """Texts that meet in a batch: whose, and which of theirs."""

    width: int
    """the longest one's padded length"""
    rows: list[tuple[Job, int]]


class JobQueue:
    """What the engine has not begun; batches of at most `batch_tokens` (at least one text).

    Only texts of one padded length meet, or of packed jobs texts of any lengths.
    """

    def __init__(self, *, batch_tokens: int) -> None:
        self._budget = batch_tokens
        self._jobs: dict[Job, None] = {}  # in the order they came
        self._owed = 0  # tokens by which the rest is ahead of the first
        self.tokens = 0
        """padded ones, of all that waits"""

    def __len__(self) -> int:
        """Return how many requests wait, in part or whole."""
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Let a request wait."""
        self._jobs[job] = None
        self.tokens += job.left

    def drop(self, job: Job) -> None:
        """Forget what is left of a request, if anything is."""
        if job in self._jobs:
            del self._jobs[job]
            self.tokens -= job.left

    def clear(self) -> list[Job]:
        """Forget everything; return who waited."""
        waiting = list(self._jobs)
        self._jobs.clear()
        self.tokens = 0
        return waiting

    def ahead(self, cost: int) -> int:
        """Return how many tokens come before a new request of `cost` tokens, as it looks now.

        Not more than all that waits, and not more than twice what has less left: to those goes half
        of the engine. Whatever comes later, it ends within twice all that waits and itself.
        """
        size = max(cost, self._budget)
        return min(self.tokens, 2 * sum(job.left for job in self._jobs if job.left <= size))

    def take(self) -> Share | None:
        """Return the longest texts of the request whose turn it is, and others that fit in."""
        if not self._jobs:
            return None
        first = next(iter(self._jobs))
        head = first if self._owed >= 0 else min(self._jobs, key=self._size)
        longest = max(head.by_width)
        room = max(self._budget, longest)
        taken: list[tuple[Job, int]] = []
        owed = self._owed
        for job in (head, *(job for job in self._jobs if job is not head)):
            for width in job.fitting(longest):
                rows = job.take(width, room)
                taken += [(job, row) for row in rows]
                room -= width * len(rows)
                self.tokens -= width * len(rows)
                owed += (-width if job is first else width) * len(rows)
            if not room:
                break
        self._owed = min(self._budget, max(-self._budget, owed))
        for job in {job for job, _ in taken if not job.by_width}:
            del self._jobs[job]
        return Share(longest, taken)

    def _size(self, job: Job) -> int:
        return max(job.left, self._budget)
