"""Similarity in the shape of the model card: `{source_sentence, sentences_to_compare}`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from corom.serving.errors import ApiError
from corom.serving.own_schemas import SimilarityRequest, SimilarityResponse
from corom.serving.service import Service
from corom.serving.settings import MAX_MATRIX
from corom.serving.writing import json_response
from corom.similarity import score_matrix


def routes(service: Service) -> APIRouter:
    """Return /v1/similarity."""
    router = APIRouter(prefix="/v1", tags=["corom"])

    @router.post("/similarity", response_model=SimilarityResponse)
    async def similarity(request: Request, body: SimilarityRequest) -> Response:
        """Scores of the first source sentence with every other sentence."""
        texts = len(body.source_sentence) + len(body.sentences_to_compare or [])
        if body.matrix and texts > MAX_MATRIX:
            raise ApiError(
                422,
                f"matrix: at most {MAX_MATRIX} texts, not {texts}; leave it out, or ask for "
                "embeddings and multiply them",
                code="invalid_value",
                param="matrix",
            )
        found = await service.embed(
            request, queries=body.source_sentence, passages=body.sentences_to_compare or []
        )
        vectors = service.finish(found.vectors)
        answer = {
            "scores": score_matrix(vectors[:1], vectors[1:], score=body.score)[0],
            "model": service.name,
            "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
            "truncated": found.truncated,
        }
        numbers = len(vectors)
        if body.matrix:
            answer["matrix"] = score_matrix(vectors, vectors, score=body.score)
            numbers += len(vectors) ** 2
        if body.embeddings:
            answer["text_embedding"] = vectors
            numbers += vectors.size
        return await json_response(answer, numbers=numbers)

    return router
