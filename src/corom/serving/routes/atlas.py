"""The map of the collection."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request

from corom.errors import InputError
from corom.serving.atlas import MOST, Atlas, Near
from corom.serving.collection import Collection
from corom.serving.errors import ApiError
from corom.serving.page_schemas import (
    MapGroup,
    MapPoint,
    MapResponse,
    NearRequest,
    Neighbour,
    PlaceRequest,
    PlaceResponse,
)
from corom.serving.service import Service

_SHOWN = 120


def routes(service: Service) -> APIRouter:
    """Return /v1/map, /v1/map/place and /v1/map/near."""
    router = APIRouter(prefix="/v1/map", tags=["corom"])
    # Of one that is no longer served nothing is kept.
    drawing = WeakKeyDictionary[Collection, asyncio.Task[Atlas]]()

    async def atlas(collection: Collection, *, checksum: str | None = None) -> Atlas:
        """Return its map, drawn once: a request that gives up waiting does not stop it.

        Raises ApiError if that is not the one of this checksum, as the index has changed.
        """
        if not len(collection):
            raise ApiError(404, "the open index holds no passages", code="no_passages")
        drawn = drawing.get(collection)
        if drawn is None or (drawn.done() and drawn.exception()):
            drawn = asyncio.create_task(asyncio.to_thread(lambda: Atlas(collection.sample(MOST))))
            drawing[collection] = drawn
        found = await asyncio.shield(drawn)
        if checksum not in (None, found.checksum):
            raise ApiError(
                409,
                "the index has changed: get the map again",
                code="map_changed",
                param="checksum",
            )
        return found

    @router.get("")
    async def show() -> MapResponse:
        """A sample of the passages in two dimensions."""
        collection = service.opened("dense")
        drawn = await atlas(collection)
        positions = zip(drawn.passages, drawn.points.tolist(), drawn.labels.tolist(), strict=True)
        return MapResponse(
            points=[
                MapPoint(id=p.id, title=p.title, text=p.text[:_SHOWN], x=x, y=y, group=group)
                for p, (x, y), group in positions
            ],
            groups=[MapGroup(**group._asdict()) for group in drawn.groups],
            method=drawn.method,
            passages=len(collection),
            checksum=drawn.checksum,
        )

    @router.post("/place")
    async def place(request: Request, body: PlaceRequest) -> PlaceResponse:
        """Where a query lies, and what is nearest to it."""
        collection = service.opened("dense")
        drawn = await atlas(collection, checksum=body.checksum)
        found = await service.embed(request, queries=[body.query])
        near = drawn.near(service.for_index(found.vectors, collection)[0])
        x, y = drawn.place(near)
        return PlaceResponse(x=x, y=y, near=_shown(near))

    @router.post("/near")
    async def near(body: NearRequest) -> list[Neighbour]:
        """What is nearest to a point."""
        drawn = await atlas(service.opened("dense"), checksum=body.checksum)
        if body.row >= len(drawn.passages):
            raise InputError(f"row: the map has {len(drawn.passages)} points")
        return _shown(drawn.near_row(body.row))

    return router


def _shown(near: list[Near]) -> list[Neighbour]:
    return [Neighbour(row=found.row, score=found.score) for found in near]
