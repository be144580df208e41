"""Who comes in: the host that was asked for, the key, and whether there is room.

A server without keys answers this machine only, and only under this machine's names: a page from
elsewhere whose own name was made to point here (DNS rebinding) is refused.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from corom.serving.errors import ApiError, draining, overloaded
from corom.serving.intake import with_body
from corom.serving.keys import KeyRing
from corom.serving.settings import LOOPBACK
from corom.serving.telemetry import Door, record_of

HEALTH = ("/healthz", "/readyz", "/health")
"""Answered to anyone, always."""
_STATIC = "/static/"


class Gate:
    """Counts what is inside; refuses what may not or cannot come in."""

    def __init__(
        self, app: ASGIApp, *, door: Door, keys: KeyRing | None, max_requests: int
    ) -> None:
        self._app, self._door, self._keys, self._most = app, door, keys, max_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or raise the ApiError that refuses it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"]
        if path not in HEALTH:
            if self._door.draining:
                raise draining()
            self._check(scope)
        if path in HEALTH or _is_page(path):
            # Those without a key must not take the room of those who have one.
            return await self._app(scope, with_body(b"", receive), send)
        if self._door.inside >= self._most:
            raise overloaded(f"{self._most} requests are being answered")
        self._door.inside += 1
        try:
            return await self._app(scope, receive, send)
        finally:
            self._door.inside -= 1

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._keys is None:
            if _name(headers.get("host", "")) not in LOOPBACK:
                raise ApiError(403, "ask for 127.0.0.1 or localhost", code="wrong_host")
            return
        if _is_page(scope["path"]):
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        owner = self._keys.name_of(key.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            raise ApiError(
                401, "send a valid API key: Authorization: Bearer KEY", code="invalid_api_key"
            )
        record_of(scope).key = owner


def _is_page(path: str) -> bool:
    return path == "/" or path.startswith(_STATIC)


def _name(host: str) -> str:
    """Return the host without its port: `[::1]:8000` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host
