"""Texts in the order in which they answer a query: TEI's shape, and that of Jina and Cohere."""

from __future__ import annotations

from fastapi import APIRouter, Request

from corom.ranking import rank_hits
from corom.records import Hit
from corom.reranker import reordered, squashed
from corom.serving.errors import other_model
from corom.serving.schemas import (
    Document,
    Rank,
    RerankRequest,
    RerankResponse,
    Result,
    TeiRerankRequest,
    Usage,
)
from corom.serving.service import Service
from corom.serving.telemetry import record_of


def routes(service: Service) -> APIRouter:
    """Return /rerank and /v1/rerank."""
    router = APIRouter()
    names = service.names if service.second is None else (service.second.name,)
    name = names[0]

    async def ranks(
        request: Request, query: str, texts: list[str], *, raw: bool = False, truncate: bool = True
    ) -> list[Rank]:
        """Return places and scores, best first.

        Cosines without a reranker; with one its scores and they together, as in a search, or its
        own alone if they count all or are asked for raw.
        """
        second = service.second
        if second is None:
            return _ranked(_hits(await service.cosines(request, query, texts, truncate=truncate)))
        first: list[Hit] = []
        if not raw and second.rules.share < 1:  # the cheap work first: it may be refused, too
            first = _hits(await service.cosines(request, query, texts, truncate=True))
        logits = await service.read(request, second, query, texts, truncate=truncate)
        if first:
            return _ranked(reordered(first, logits.tolist(), share=second.rules.share))
        return _ranked(_hits((logits if raw else squashed(logits)).tolist()))

    @router.post("/rerank", response_model_exclude_none=True, tags=["text-embeddings-inference"])
    async def tei(request: Request, body: TeiRerankRequest) -> list[Rank]:
        """Texts by the scores of model and reranker, or without one by their cosine, best first."""
        found = await ranks(
            request, body.query, body.texts, raw=body.raw_scores, truncate=body.truncate
        )
        if not body.return_text:
            return found
        return [rank.model_copy(update={"text": body.texts[rank.index]}) for rank in found]

    @router.post("/v1/rerank", response_model_exclude_none=True, tags=["Jina, Cohere"])
    async def jina(request: Request, body: RerankRequest) -> RerankResponse:
        """Documents as /rerank has them, best first."""
        if body.model not in (None, *names):
            raise other_model(name)
        found = await ranks(request, body.query, body.documents)
        tokens = record_of(request.scope).tokens
        return RerankResponse(
            model=name,
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
            results=[
                Result(
                    index=rank.index,
                    relevance_score=rank.score,
                    document=Document(text=body.documents[rank.index])
                    if body.return_documents
                    else None,
                )
                for rank in found[: body.top_n]
            ],
        )

    return router


def _hits(scores: list[float]) -> list[Hit]:
    return [Hit(str(index), score) for index, score in enumerate(scores)]


def _ranked(hits: list[Hit]) -> list[Rank]:
    return [Rank(index=int(hit.id), score=hit.score) for hit in rank_hits(hits)]
