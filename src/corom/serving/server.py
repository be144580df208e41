"""Running the application: a uvicorn that drains before it stops."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from types import FrameType
from typing import cast

import uvicorn

from corom.serving.app import create_app
from corom.serving.connection import Connection
from corom.serving.service import Service

# After the signal, how long clients with an open connection get a 503 instead of a closed door.
_LAME_DUCK_S = 1.0
# Connections beside those of requests: together below the 1,024 files that systems let one open.
_IDLE_CONNECTIONS = 512


class Server(uvicorn.Server):
    """Answers what it has accepted, tells newcomers 503, then stops; `run()` returns normally."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        connection = partial(
            Connection,
            most_connections=settings.max_requests + _IDLE_CONNECTIONS,
            timeout_s=settings.timeout_s,
        )
        super().__init__(
            uvicorn.Config(
                create_app(service),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                http=cast("type[asyncio.Protocol]", connection),
                ws="none",
                timeout_graceful_shutdown=5,  # without a drain; `_finish` gives what is left of it
                timeout_keep_alive=30,
            )
        )
        self._door, self._drain_s = service.door, settings.drain_s
        self._drain: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to drain; a second Ctrl-C stops at once."""
        if self._door.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self._door.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; uvicorn asks ten times a second."""
        if self._door.draining and self._drain is None:
            self._drain = asyncio.create_task(self._finish())
        return await super().on_tick(counter)

    async def _finish(self) -> None:
        begun = time.monotonic()
        while time.monotonic() < begun + self._drain_s:
            if not self._door.inside and time.monotonic() > begun + _LAME_DUCK_S:
                break
            await asyncio.sleep(0.02)
        # The last pieces of an answer, and answers that do not count as inside, may still be read.
        left = begun + self._drain_s - time.monotonic()
        self.config.timeout_graceful_shutdown = max(1, round(left))
        self.should_exit = True
