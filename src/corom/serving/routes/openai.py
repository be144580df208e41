"""OpenAI's embeddings API."""

from __future__ import annotations

from base64 import b64encode

from fastapi import APIRouter, Request, Response

from corom.serving.errors import other_model
from corom.serving.schemas import EmbeddingsRequest, EmbeddingsResponse, Model, Models
from corom.serving.service import Service
from corom.serving.writing import json_response


def routes(service: Service) -> APIRouter:
    """Return /v1/embeddings and /v1/models."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    def check(name: str | None) -> None:
        if name not in (None, *service.names):
            raise other_model(service.name)

    @router.post("/embeddings", response_model=EmbeddingsResponse)
    async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
        """Vectors of texts."""
        check(body.model)
        queries, passages = (body.input, []) if body.input_type == "query" else ([], body.input)
        found = await service.embed(request, queries=queries, passages=passages)
        vectors = service.finish(found.vectors, dimensions=body.dimensions)
        if body.encoding_format == "base64":
            numbers = [b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
        else:
            numbers = list(vectors)
        return await json_response(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": embedding}
                    for index, embedding in enumerate(numbers)
                ],
                "model": service.name,
                "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
                "truncated": found.truncated,
            },
            numbers=vectors.size,
        )

    @router.get("/models")
    async def models() -> Models:
        """The model that is served."""
        return Models(data=[Model(id=service.name)])

    @router.get("/models/{model:path}")
    async def model(model: str) -> Model:
        """The model that is served, by its name."""
        check(model)
        return Model(id=service.name)

    return router
