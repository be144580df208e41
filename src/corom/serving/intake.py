"""How a request comes in: its body within limits, in time, and for as long as someone waits.

Below this layer a body is complete, and a request that nobody waits for any more is cancelled:
its texts leave the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from corom.serving.errors import ApiError, overloaded, too_late
from corom.serving.settings import MAX_BODY_BYTES

_PIECE = 64 << 10
"""bytes of an answer that are written at once"""


class _Left(Exception):  # noqa: N818 - no error: the client went away
    """The client closed the connection before its answer."""


class Intake:
    """Reads the body (413, 429), then runs the request until it ends, is late (504) or is left."""

    def __init__(self, app: ASGIApp, *, max_held_bytes: int, timeout_s: float) -> None:
        self._app, self._max_held, self._timeout_s = app, max_held_bytes, timeout_s
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:

                async def send_on(message: Message) -> None:
                    deadline.reschedule(None)  # an answer that has begun is not cut off
                    for part in _parts(message):
                        await send(part)

                await self._read(scope, receive, body)
                await self._run(scope, receive, send_on, bytes(body))
        except TimeoutError:
            raise too_late(self._timeout_s) from None
        except _Left:
            return None
        finally:
            self._held -= len(body)
        return None

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
            raise _too_large()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Left
            chunk = message.get("body", b"")
            self._held += len(chunk)
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
            if self._held > self._max_held:
                raise overloaded("too many large requests at once")
            more = message.get("more_body", False)

    async def _run(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        request = asyncio.ensure_future(self._app(scope, with_body(body, receive), send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({request, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _stop(leaving)
            if not request.done():
                await _stop(request)
        if request.cancelled():
            raise _Left
        request.result()


def with_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a whole body at once, then tells when the client leaves."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_on() -> Message:
        return whole.pop() if whole else await receive()

    return receive_on


def _too_large() -> ApiError:
    limit = MAX_BODY_BYTES >> 20
    return ApiError(413, f"the body is over {limit} MiB; split it", code="too_large")


def _parts(message: Message) -> Iterator[Message]:
    """Yield a message, a large body in pieces: a slow reader's answer waits here, not in a buffer.

    So it is inside until it is read, all but the last pieces.
    """
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for start in range(0, len(body), _PIECE):
        more = start + _PIECE < len(body) or message.get("more_body", False)
        yield {**message, "body": body[start : start + _PIECE], "more_body": more}


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Future[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
