"""For those who run the server: is it alive, is it ready, how is it doing."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from corom.serving.errors import ApiError, draining
from corom.serving.service import Service

_PROBE_S = 5.0


def routes(service: Service) -> APIRouter:
    """Return /healthz, /readyz (for TEI's users also /health) and /metrics."""
    router = APIRouter(tags=["operations"], default_response_class=PlainTextResponse)

    @router.get("/healthz")
    async def healthz() -> str:
        """The process answers."""
        return "ok\n"

    async def readyz() -> str:
        """The model answers; 503 when it does not, or when the server is shutting down."""
        if service.door.draining:
            raise draining()
        try:
            async with asyncio.timeout(_PROBE_S):
                await service.probe()
        except (TimeoutError, ApiError):
            raise ApiError(
                503, "the model does not answer", code="not_ready", retry_after_s=5
            ) from None
        return "ok\n"

    for path in ("/readyz", "/health"):
        router.add_api_route(path, readyz, methods=["GET"], name=path.strip("/"))

    @router.get("/metrics")
    async def metrics() -> Response:
        """Prometheus's text format."""
        return Response(service.telemetry.text(), media_type="text/plain; version=0.0.4")

    return router
