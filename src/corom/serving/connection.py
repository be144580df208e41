"""A connection, limited where the application sees nothing: before a request, after an answer.

uvicorn sets no limit to the size of headers, to the time until they are whole, to the number of
connections, and to how long an answer waits for its reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 << 10
"""of a request's first line and headers, and of whatever else is no part of a body"""
_PIECE = 16 << 10
"""bytes the parser gets at once: so much more than the limit it may have read"""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class _Timer:
    """Does something, once, unless it is stopped in time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds
        self._handle: asyncio.TimerHandle | None = None

    def start(self, action: Callable[[], None]) -> None:
        """Begin, if it has not begun."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, action)

    def stop(self) -> None:
        """Do nothing after all."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which is closed by whoever takes too much or too long.

    There are at most `most_connections`; one more is closed at once. `timeout_s` has a client
    from the connection, or from the first byte after an answer, to the end of a request's headers;
    and the buffer of an answer, some 64 KiB, to be read.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - uvicorn's own
        most_connections: int,
        timeout_s: float,
        **options: Any,  # noqa: ANN401 - uvicorn's own
    ) -> None:
        super().__init__(*args, **options)
        self._most, self._head_bytes = most_connections, 0
        self._asking, self._reading = (_Timer(self.loop, timeout_s) for _ in range(2))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room for a connection."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            transport.abort()
        else:
            self._asking.start(transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._asking.stop()
        self._reading.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, up to the limit of what is no body."""
        if not self._answering:
            self._asking.start(self.transport.abort)
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            piece = data[start : start + _PIECE]
            self._head_bytes += len(piece)
            super().data_received(piece)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse()

    def on_headers_complete(self) -> None:
        """Leave the rest of the request's time to the application."""
        self._head_bytes = 0
        self._asking.stop()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count anew: a chunk's length, or headers behind the last."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count the next request's headers."""
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Do not wait for ever until the rest of a last answer is read."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._reading.start(self.transport.abort)

    def pause_writing(self) -> None:
        """Begin to wait for the reader."""
        super().pause_writing()
        self._reading.start(self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the reader reads."""
        self._reading.stop()
        if self.transport.is_closing():
            self._reading.start(self.transport.abort)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle, even if the last answer was not read to its end."""
        self.transport.abort()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self) -> None:
        if self._answering or self.transport.is_closing():
            self.transport.abort()  # an answer of another kind would be in the midst of this one
        else:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
