"""Clients for the serve benchmark: bare HTTP over asyncio, so that they cost next to nothing.

They share the processors with the server they ask, as on a small machine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

ANSWER_S = 120.0
"""a request without an answer for so long counts as unanswered"""
WARM_S = 30.0
"""so long a first answer is waited for before the measuring begins"""


class Answer(NamedTuple):
    """What came back, and how long it took."""

    status: int
    seconds: float
    body: bytes


class Level(NamedTuple):
    """So many clients at once, each asking again as soon as it is answered."""

    clients: int
    per_second: float
    latencies: list[float]
    """seconds, of what was answered inside the window"""
    statuses: dict[str, int]
    starved: int
    """clients whose first answer, or last one, did not come in time"""


class Overload(NamedTuple):
    """Requests at a fixed rate, whether or not earlier ones are answered."""

    asked: int
    statuses: dict[str, int]
    unanswered: int
    """connections refused or broken, answers that never came"""
    good_per_second: float
    p99_good_s: float | None
    p99_refused_s: float | None
    recovery_s: float
    """from the last request until a lone client is answered as on an idle server"""


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send a request and return the whole answer; raise OSError or EOFError if none comes."""
        begun = time.perf_counter()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        return Answer(int(head.split(" ", 2)[1]), time.perf_counter() - begun, body)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def post(path: str, body: dict[str, Any]) -> bytes:
    """Return the bytes of a POST request."""
    text = json.dumps(body, ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(text)}\r\n\r\n".encode() + text


async def closed_loop(
    port: int, requests: Sequence[bytes], *, clients: int, seconds: float
) -> Level:
    """Ask with so many clients; measure once each has had its first answer, or after `WARM_S`.

    The window is `seconds` long, or longer: until there were as many answers as clients.
    """
    waiting, stop = asyncio.Event(), asyncio.Event()
    source, missing = cycle(requests), clients
    seen: list[tuple[float, Answer]] = []

    async def client() -> None:
        nonlocal missing
        connection, first = Connection(port), True
        try:
            while not stop.is_set():
                answer = await connection.ask(next(source))
                seen.append((time.perf_counter(), answer))
                missing -= first
                first = False
                if not missing:
                    waiting.set()
        finally:
            connection.close()

    running = [asyncio.create_task(client()) for _ in range(clients)]
    warm = asyncio.create_task(waiting.wait())
    await asyncio.wait({warm, *running}, timeout=WARM_S, return_when=asyncio.FIRST_COMPLETED)
    warm.cancel()
    for ended_early in (each for each in running if each.done()):
        ended_early.result()  # raises what a client met
    starved = missing
    begun = time.perf_counter()
    before = len(seen)
    await asyncio.sleep(seconds)
    while len(seen) - before < clients and time.perf_counter() - begun < ANSWER_S:
        await asyncio.sleep(0.05)
    ended = time.perf_counter()
    stop.set()
    done, late = await asyncio.wait(running, timeout=WARM_S)  # what is under way may finish
    for one in late:
        one.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for one in done:
        one.result()  # raises what a client met
    window = [answer for at, answer in seen if begun < at <= ended]
    good = [answer.seconds for answer in window if answer.status == 200]
    statuses = dict(Counter(str(answer.status) for answer in window))
    return Level(clients, len(good) / (ended - begun), good, statuses, max(starved, len(late)))


async def open_loop(
    port: int,
    requests: Sequence[bytes],
    *,
    per_second: float,
    seconds: float,
    alone: Sequence[bytes],
    normal_s: float,
) -> Overload:
    """Send requests at a rate, each on an idle connection or a new one; then watch the recovery.

    It is over when a request of `alone`, single texts, is answered within `normal_s`.
    """
    source, idle = cycle(requests), [Connection(port)]
    answers: list[Answer] = []
    unanswered = 0

    async def one(request: bytes) -> None:
        nonlocal unanswered
        connection = idle.pop() if idle else Connection(port)
        try:
            answers.append(await asyncio.wait_for(connection.ask(request), ANSWER_S))
        except (OSError, EOFError, TimeoutError):
            unanswered += 1
            connection.close()
        else:
            idle.append(connection)

    tasks = set()
    begun = time.perf_counter()
    for due in _ticks(per_second, seconds):
        await asyncio.sleep(begun + due - time.perf_counter())
        tasks.add(asyncio.create_task(one(next(source))))
    ended = time.perf_counter()
    within = sum(answer.status == 200 for answer in answers)
    recovery = await _recovery(port, alone, normal_s=normal_s, since=ended)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    good, refused = (
        [answer.seconds for answer in answers if (answer.status == 200) is wanted]
        for wanted in (True, False)
    )
    return Overload(
        asked=len(tasks),
        statuses=dict(Counter(str(answer.status) for answer in answers)),
        unanswered=unanswered,
        good_per_second=within / (ended - begun),
        p99_good_s=percentile(good, 99) if good else None,
        p99_refused_s=percentile(refused, 99) if refused else None,
        recovery_s=recovery,
    )


def percentile(values: Sequence[float], which: float) -> float:
    """Return a percentile of at least one value."""
    return float(np.percentile(values, which))


def _ticks(per_second: float, seconds: float) -> Iterator[float]:
    return (n / per_second for n in range(round(per_second * seconds)))


async def _recovery(
    port: int, requests: Sequence[bytes], *, normal_s: float, since: float
) -> float:
    connection, source = Connection(port), cycle(requests)
    while True:
        try:
            answer = await connection.ask(next(source))
        except (OSError, EOFError):  # more connections than the server takes
            connection.close()
        else:
            if answer.status == 200 and answer.seconds <= normal_s:
                connection.close()
                return time.perf_counter() - since
        if time.perf_counter() - since > ANSWER_S:
            raise TimeoutError("the server did not recover")
        await asyncio.sleep(0.02)


def once(port: int, request: bytes) -> Answer:
    """Ask one request on a connection of its own."""

    async def ask() -> Answer:
        with closing(Connection(port)) as connection:
            return await connection.ask(request)

    return asyncio.run(ask())
