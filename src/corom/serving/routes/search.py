"""Search in the opened collection."""

from __future__ import annotations

import asyncio
import math
import time
from itertools import islice

from fastapi import APIRouter, Request

from corom.highlight import sentences, snippet
from corom.search import FoundPassage
from corom.serving.schemas import (
    MAX_SENTENCES,
    Marks,
    SearchHit,
    SearchRequest,
    SearchResponse,
)
from corom.serving.service import Service
from corom.vectors import Vectors


def routes(service: Service) -> APIRouter:
    """Return /v1/search."""
    router = APIRouter(prefix="/v1", tags=["corom"])

    async def sentence_scores(
        request: Request, query: Vectors, found: list[FoundPassage]
    ) -> list[list[float]]:
        """Return the product of the query with each sentence of every passage."""
        scores = []
        parts: list[str] = []
        for hit in found:
            spans = sentences(hit.text)
            parts += [hit.text[start:end] for start, end, _ in spans[:MAX_SENTENCES]]
            scores.append([-math.inf] * len(spans))
        encoded = await service.embed(request, passages=parts)
        products = iter((service.finish(encoded.vectors, normalize=True) @ query).tolist())
        for row in scores:
            row[:MAX_SENTENCES] = islice(products, min(len(row), MAX_SENTENCES))
        return scores

    @router.post("/search")
    async def search(request: Request, body: SearchRequest) -> SearchResponse:
        """The passages that answer a query best."""
        collection = service.opened(body.mode)
        begun = time.perf_counter()
        truncated, scores = False, None
        if body.mode == "dense":
            encoded = await service.embed(request, queries=[body.query])
            truncated = bool(encoded.truncated)
            query = service.for_index(encoded.vectors)[0]
            found = await asyncio.to_thread(collection.by_vector, query, body.k)
            if body.marks:
                scores = await sentence_scores(request, encoded.vectors[0], found)
        else:
            found = await asyncio.to_thread(collection.by_words, body.query, body.k)
        milliseconds = 1000 * (time.perf_counter() - begun)
        hits = [SearchHit(rank=rank, **hit._asdict()) for rank, hit in enumerate(found, 1)]
        if body.marks:
            for place, hit in enumerate(hits):
                hit.marks = _marks(body.query, hit.text, scores[place] if scores else None)
        return SearchResponse(
            hits=hits,
            mode=body.mode,
            collection=collection.name,
            passages=len(collection),
            model=service.name,
            milliseconds=milliseconds,
            truncated=truncated,
        )

    return router


def _marks(query: str, text: str, scores: list[float] | None) -> Marks:
    spans = snippet(query, text, max_chars=max(1, len(text)), sentence_scores=scores).spans
    words = [(start, end) for start, end, kind in spans if kind == "word"]
    best = next(((start, end) for start, end, kind in spans if kind == "sentence"), None)
    # Without vectors the best sentence is the one with most shared words: without any, none.
    return Marks(words=words, sentence=best if words or scores else None)
