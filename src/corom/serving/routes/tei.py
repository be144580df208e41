"""The API of text-embeddings-inference."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from corom import __version__
from corom.serving.schemas import (
    EmbedRequest,
    Info,
    ModelType,
    Pooling,
    Rank,
    RerankRequest,
    TeiSimilarityRequest,
)
from corom.serving.service import Service, json_response
from corom.serving.settings import MAX_TEXTS
from corom.similarity import score_matrix


def routes(service: Service) -> APIRouter:
    """Return /embed, /similarity, /rerank and /info."""
    router = APIRouter(tags=["text-embeddings-inference"])

    async def cosines(
        request: Request, query: str, texts: list[str], *, truncate: bool
    ) -> list[float]:
        found = await service.embed(request, queries=[query], passages=texts, truncate=truncate)
        one, many = found.vectors[:1], found.vectors[1:]
        scores: list[float] = score_matrix(one, many, score="cosine")[0].tolist()
        return scores

    @router.post("/embed", response_model=list[list[float]])
    async def embed(request: Request, body: EmbedRequest) -> Response:
        """Vectors of texts."""
        queries, passages = (body.inputs, []) if body.prompt_name == "query" else ([], body.inputs)
        found = await service.embed(
            request, queries=queries, passages=passages, truncate=body.truncate
        )
        vectors = service.finish(
            found.vectors, normalize=body.normalize, dimensions=body.dimensions
        )
        return json_response(vectors.tolist())

    @router.post("/similarity")
    async def similarity(request: Request, body: TeiSimilarityRequest) -> list[float]:
        """Cosines of one sentence with others, in their order."""
        truncate = body.parameters is None or body.parameters.truncate
        inputs = body.inputs
        return await cosines(request, inputs.source_sentence, inputs.sentences, truncate=truncate)

    @router.post("/rerank", response_model_exclude_none=True)
    async def rerank(request: Request, body: RerankRequest) -> list[Rank]:
        """Texts by their cosine with the query, best first."""
        scores = await cosines(request, body.query, body.texts, truncate=body.truncate)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return [
            Rank(
                index=index,
                score=scores[index],
                text=body.texts[index] if body.return_text else None,
            )
            for index in order
        ]

    @router.get("/info")
    async def info() -> Info:
        """What is served."""
        encoder = service.encoder
        return Info(
            model_id=service.name,
            model_sha=encoder.fingerprint,
            model_dtype=encoder.precision,
            model_type=ModelType(embedding=Pooling(pooling=encoder.encoding.pooling)),
            max_input_length=encoder.max_length,
            max_client_batch_size=MAX_TEXTS,
            max_batch_tokens=encoder.batch_tokens,
            max_concurrent_requests=service.settings.max_requests,
            version=__version__,
        )

    return router
