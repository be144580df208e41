"""What a search does: find, have the reranker read what was found, mark what answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple

from fastapi import Request

from corom.errors import InputError
from corom.highlight import first_sentences, snippet
from corom.index import Where
from corom.records import Hit, Passage
from corom.search import FoundPassage, Fusion, Searcher
from corom.serving.collection import Collection
from corom.serving.errors import ApiError
from corom.serving.own_schemas import Bounds, Marks, SearchRequest, Values
from corom.serving.service import Known, Second, Service
from corom.vectors import Vectors


class Found(NamedTuple):
    """The passages that answer a query best, best first."""

    passages: list[FoundPassage]
    query: Vectors | None
    """the query's vector, (dim,), raw, if it was searched by that"""
    truncated: bool
    """whether the query was longer than the model reads"""


async def find(
    service: Service,
    request: Request,
    body: SearchRequest,
    *,
    collection: Collection,
    second: Second | None,
) -> Found:
    """Return the best passages, in the order of the reranker if there is a `second` pass.

    Raises ApiError for a weight where nothing is weighed, or a column that is not kept.
    """
    if body.weight is not None and body.mode != "both":
        raise ApiError(400, "weight belongs to mode both", code="invalid_value", param="weight")
    known = Known(service)
    fusion = None if body.weight is None else Fusion(vectors=body.weight)
    searcher = collection.searcher(body.mode, encoder=known, fusion=fusion)
    if body.where:
        searcher = await asyncio.to_thread(_filtered, searcher, body.where)
    once = collection.holds_parts if body.by_document is None else body.by_document
    k = body.k if second is None else max(body.k, second.rules.depth)
    queries = [] if body.mode == "bm25" else [body.query]
    encoded = await service.embed(request, queries=queries)
    known.vectors = encoded.vectors
    [passages] = await asyncio.to_thread(searcher.search, [body.query], k, by_document=once)
    if second is not None:
        passages = await _reordered(service, request, body.query, passages, second)
    vector = encoded.vectors[0] if queries else None
    return Found(passages[: body.k], vector, truncated=bool(encoded.truncated))


def _filtered(searcher: Searcher, where: Mapping[str, Values | Bounds]) -> Searcher:
    """Return what searches the passages that the request wants searched."""
    try:
        return searcher.only(
            Where(column=column, among=tuple(asked))
            if isinstance(asked, list)
            else Where(column=column, **asked.model_dump())
            for column, asked in where.items()
        )
    except InputError as error:
        raise ApiError(400, f"where: {error}", code="invalid_value", param="where") from None


async def _reordered(
    service: Service, request: Request, query: str, found: list[FoundPassage], second: Second
) -> list[FoundPassage]:
    read = found[: second.rules.depth]
    texts = [Passage(hit.id, hit.text, hit.title).content for hit in read]
    scores = (await service.read(request, second, query, texts)).tolist()
    by_id = {hit.id: hit for hit in found}
    hits = second.rules.joined([Hit(hit.id, hit.score) for hit in found], scores)
    return [by_id[hit.id]._replace(score=hit.score) for hit in hits]


async def marks_of(service: Service, request: Request, query: str, found: Found) -> list[Marks]:
    """Return what in each passage answers: shared words, and the best sentence."""
    scores: Sequence[list[float] | None] = [None] * len(found.passages)
    if found.query is not None:
        scores = await _sentence_scores(service, request, found.query, found.passages)
    # Long passages take a while: others are answered meanwhile.
    return await asyncio.to_thread(_all_marks, query, found.passages, scores)


async def _sentence_scores(
    service: Service, request: Request, query: Vectors, found: list[FoundPassage]
) -> list[list[float]]:
    """Return the products of the query with the first sentences of every passage."""
    read = await asyncio.to_thread(lambda: [first_sentences(hit.text) for hit in found])
    encoded = await service.embed(request, passages=[*chain.from_iterable(read)])
    products = iter((service.finish(encoded.vectors, normalize=True) @ query).tolist())
    return [list(islice(products, len(each))) for each in read]


def _all_marks(
    query: str, found: list[FoundPassage], scores: Sequence[list[float] | None]
) -> list[Marks]:
    return [_marks(query, hit.text, own) for hit, own in zip(found, scores, strict=True)]


def _marks(query: str, text: str, scores: list[float] | None) -> Marks:
    spans = snippet(query, text, max_chars=max(1, len(text)), sentence_scores=scores).spans
    words = [(start, end) for start, end, kind in spans if kind == "word"]
    best = next(((start, end) for start, end, kind in spans if kind == "sentence"), None)
    # Without vectors the best sentence is the one with most shared words: without any, none.
    return Marks(words=words, sentence=best if words or scores else None)
