"""What the server tells its operator: numbers and places, never a text.

`Telemetry` holds the metrics (names in docs/serving.md); `Reporting` is the outermost layer: it
gives each request an id, sees every answer, adds the security headers, turns any exception into
an answer, and writes one line per request.
"""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from corom.serving.errors import as_api_error

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_LEFT = 499
"""nginx's status for a client that left before its answer"""
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)

_log = logging.getLogger("corom.serving")


@dataclass
class Record:
    """What a request's line in the log says, filled in on the way: `scope["corom"]`."""

    id: str
    texts: int = 0
    tokens: int = 0
    key: str = "-"


def record_of(scope: Scope) -> Record:
    """Return the record of the request."""
    record: Record = scope["corom"]
    return record


@dataclass
class Door:
    """What the layers and the rest of the server know of each other."""

    inside: int = 0
    """requests being answered"""
    draining: bool = False
    """set on SIGTERM: nobody comes in any more"""


class Telemetry:
    """The metrics of one server."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._registry = registry
        self._requests = Counter(
            "corom_requests", "Answers.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "corom_request_seconds",
            "From request to answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._texts = Counter("corom_texts", "Texts embedded, pairs read.", registry=registry)
        self._tokens = Counter("corom_tokens", "Tokens embedded or read.", registry=registry)
        self._batch = Histogram(
            "corom_batch_texts", "Texts in a batch.", buckets=_SIZES, registry=registry
        )

    def batch(self, texts: int, tokens: int) -> None:
        """Count a batch the engine takes."""
        self._texts.inc(texts)
        self._tokens.inc(tokens)
        self._batch.observe(texts)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def watch(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """Show what `value` returns whenever the metrics are read."""
        Gauge(name, help_, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class Reporting:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry, door: Door) -> None:
        self._app, self._telemetry, self._door = app, telemetry, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        record = scope["corom"] = Record(uuid.uuid4().hex)
        begun, status = time.perf_counter(), _LEFT

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = record.id
                headers.setdefault("cache-control", "no-store")
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                if self._door.draining:
                    # Else the next request might meet the connection as it is closed.
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as error:  # noqa: BLE001 - every request is answered
            answer = as_api_error(error)
            if answer.status == 500:
                _log.error("id=%s %s", record.id, place_of(error))
            if status == _LEFT:
                await answer.response()(scope, receive, send_on)
        finally:
            seconds = time.perf_counter() - begun
            route = route_of(scope)
            self._telemetry.request(route, status, seconds)
            _log.info(
                "%s %s %d %.1fms texts=%d tokens=%d key=%s id=%s",
                *(scope["method"], route, status, 1000 * seconds),
                *(record.texts, record.tokens, record.key, record.id),
            )
        return None


def route_of(scope: Scope) -> str:
    """Return the route's pattern: the path itself may hold what a user typed."""
    return str(getattr(scope.get("route"), "path", "-"))


def place_of(error: BaseException) -> str:
    """Return the kind of an exception and where it was raised.

    Its message and the values of its frames may hold a text, so they are left out.
    """
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"
