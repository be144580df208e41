"""Search in the opened collection."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import APIRouter, Request

from corom.serving.finding import find, marks_of
from corom.serving.own_schemas import Marks, SearchHit, SearchRequest, SearchResponse
from corom.serving.service import Service


def routes(service: Service) -> APIRouter:
    """Return /v1/search."""
    router = APIRouter(prefix="/v1", tags=["corom"])

    @router.post("/search")
    async def search(request: Request, body: SearchRequest) -> SearchResponse:
        """The passages that answer a query best."""
        collection = service.opened(body.mode)
        second = service.second_pass(wanted=body.rerank)
        begun = time.perf_counter()
        found = await find(service, request, body, collection=collection, second=second)
        marks: Sequence[Marks | None] = [None] * len(found.passages)
        if body.marks:
            marks = await marks_of(service, request, body.query, found)
        milliseconds = 1000 * (time.perf_counter() - begun)
        return SearchResponse(
            hits=[
                SearchHit(rank=rank, **hit._asdict(), marks=own)
                for rank, (hit, own) in enumerate(zip(found.passages, marks, strict=True), 1)
            ],
            mode=body.mode,
            reranked=second is not None,
            collection=collection.name,
            passages=len(collection),
            model=service.name,
            milliseconds=milliseconds,
            truncated=found.truncated,
        )

    return router
