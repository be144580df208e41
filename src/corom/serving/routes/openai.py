"""OpenAI's embeddings API."""

from __future__ import annotations

from base64 import b64encode

from fastapi import APIRouter, Request, Response

from corom.serving.errors import ApiError
from corom.serving.schemas import EmbeddingsRequest, EmbeddingsResponse, Model, Models
from corom.serving.service import Service, json_response


def routes(service: Service) -> APIRouter:
    """Return /v1/embeddings and /v1/models."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    def check(name: str | None) -> None:
        # Another model's vectors would be wrong in silence.
        if name is not None and name not in service.names:
            raise ApiError(
                404,
                f"the model served here is {service.name}",
                code="model_not_found",
                param="model",
            )

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
