"""The application: routes, and around them three layers.

From the outside in:

Reporting   request id, log line, metrics, security headers, every exception an answer
Gate        host, key, room, shutting down
Intake      body limits, deadline, clients that leave
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from corom import __version__
from corom.serving.errors import ErrorAnswer, answer_error
from corom.serving.gate import Gate
from corom.serving.intake import Intake
from corom.serving.routes import atlas, compare, openai, ops, page, rerank, search, tei
from corom.serving.service import Service
from corom.serving.telemetry import Reporting

_DESCRIPTION = "Chinese medical text embeddings. For retrieval research; not medical advice."


def create_app(service: Service) -> FastAPI:
    """Return the ASGI application around a service; its lifespan starts and stops the model."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        await asyncio.to_thread(service.warm_up)
        following = asyncio.create_task(service.follow())
        yield
        following.cancel()
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="corom",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses={"default": {"model": ErrorAnswer, "description": "An error."}},
        # FastAPI's pages load from a CDN, and its telemetry would report what was sent.
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    for part in (openai, tei, rerank, search, compare, atlas, ops, page):
        app.include_router(part.routes(service))
    for error in (RequestValidationError, HTTPException):
        app.add_exception_handler(error, answer_error)
    settings = service.settings
    app.add_middleware(Intake, max_held_bytes=settings.max_held_bytes, timeout_s=settings.timeout_s)
    app.add_middleware(
        Gate, door=service.door, keys=service.keys, max_requests=settings.max_requests
    )
    app.add_middleware(Reporting, telemetry=service.telemetry, door=service.door)
    return app
