"""The API of text-embeddings-inference."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from corom import __version__
from corom.serving.schemas import EmbedRequest, Info, ModelType, Pooling, TeiSimilarityRequest
from corom.serving.service import Service
from corom.serving.settings import MAX_TEXTS
from corom.serving.writing import json_response


def routes(service: Service) -> APIRouter:
    """Return /embed, /similarity and /info; /rerank is in `rerank`."""
    router = APIRouter(tags=["text-embeddings-inference"])

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
        return await json_response(vectors, numbers=vectors.size)

    @router.post("/similarity")
    async def similarity(request: Request, body: TeiSimilarityRequest) -> list[float]:
        """Cosines of one sentence with others, in their order."""
        truncate = body.parameters is None or body.parameters.truncate
        inputs = body.inputs
        return await service.cosines(
            request, inputs.source_sentence, inputs.sentences, truncate=truncate
        )

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
