"""The map of the collection."""

from __future__ import annotations

import asyncio
from functools import partial
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request

from corom.errors import InputError
from corom.serving.atlas import MOST, Atlas
from corom.serving.collection import Collection
from corom.serving.errors import ApiError
from corom.serving.own_schemas import (
    MapPoint,
    MapResponse,
    NearRequest,
    Neighbour,
    PlaceRequest,
    PlaceResponse,
)
from corom.serving.service import Service

_SHOWN = 120


class _Maps:
    """The map of each collection that is served, drawn once."""

    def __init__(self) -> None:
        # Of one that is no longer served nothing is kept.
        self._drawn = WeakKeyDictionary[Collection, asyncio.Task[Atlas]]()

    async def of(self, collection: Collection, *, checksum: str | None = None) -> Atlas:
        """Return the map of a collection: a request that gives up waiting does not stop it.

        Raises ApiError if that is not the one of this checksum, as the index has changed.
        """
        if not len(collection):
            raise ApiError(404, "the open index holds no passages", code="no_passages")
        drawn = self._drawn.get(collection)
        if drawn is None:
            drawn = asyncio.create_task(asyncio.to_thread(lambda: Atlas(collection.sample(MOST))))
            drawn.add_done_callback(partial(self._forget_failed, collection))
            self._drawn[collection] = drawn
        found = await asyncio.shield(drawn)
        if checksum not in (None, found.checksum):
            raise ApiError(
                409,
                "the index has changed: get the map again",
                code="map_changed",
                param="checksum",
            )
        return found

    def _forget_failed(self, collection: Collection, drawn: asyncio.Task[Atlas]) -> None:
        # Its exception's frames hold the collection. The next request tries again.
        if drawn.cancelled() or drawn.exception():
            del self._drawn[collection]


def routes(service: Service) -> APIRouter:
    """Return /v1/map, /v1/map/place and /v1/map/near."""
    router, maps = APIRouter(prefix="/v1/map", tags=["corom"]), _Maps()

    @router.get("")
    async def show() -> MapResponse:
        """A sample of the passages in two dimensions."""
        collection = service.opened("dense")
        drawn = await maps.of(collection)
        positions = zip(drawn.passages, drawn.points.tolist(), drawn.labels.tolist(), strict=True)
        return MapResponse(
            points=[
                MapPoint(id=p.id, title=p.title, text=p.text[:_SHOWN], x=x, y=y, group=group)
                for p, (x, y), group in positions
            ],
            groups=drawn.groups,
            method=drawn.method,
            passages=len(collection),
            checksum=drawn.checksum,
        )

    @router.post("/place")
    async def place(request: Request, body: PlaceRequest) -> PlaceResponse:
        """Where a query lies, and what is nearest to it."""
        drawn = await maps.of(service.opened("dense"), checksum=body.checksum)
        found = await service.embed(request, queries=[body.query])
        near = drawn.near(found.vectors[0])
        x, y = drawn.place(near)
        return PlaceResponse(x=x, y=y, near=near)

    @router.post("/near")
    async def near(body: NearRequest) -> list[Neighbour]:
        """What is nearest to a point."""
        drawn = await maps.of(service.opened("dense"), checksum=body.checksum)
        if body.row >= len(drawn.passages):
            raise InputError(f"row: the map has {len(drawn.passages)} points")
        return drawn.near_row(body.row)

    return router
