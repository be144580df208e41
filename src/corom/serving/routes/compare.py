"""Similarity in the shape of the model card: `{source_sentence, sentences_to_compare}`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from corom.serving.schemas import SimilarityRequest, SimilarityResponse
from corom.serving.service import Service, json_response, stack
from corom.similarity import score_matrix


def routes(service: Service) -> APIRouter:
    """Return /v1/similarity."""
    router = APIRouter(prefix="/v1", tags=["corom"])

    @router.post("/similarity", response_model=SimilarityResponse)
    async def similarity(request: Request, body: SimilarityRequest) -> Response:
        """Scores of the first source sentence with every other sentence."""
        sources = await service.embed(request, body.source_sentence, side="query")
        others = await service.embed(request, body.sentences_to_compare or [], side="passage")
        vectors = service.finish(stack(sources.vectors, others.vectors))
        tokens = sources.tokens + others.tokens
        shift = len(body.source_sentence)
        answer = {
            "scores": score_matrix(vectors[:1], vectors[1:], score=body.score)[0].tolist(),
            "model": service.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "truncated": [*sources.truncated, *(shift + row for row in others.truncated)],
        }
        if body.matrix:
            answer["matrix"] = score_matrix(vectors, vectors, score=body.score).tolist()
        if body.embeddings:
            answer["text_embedding"] = vectors.tolist()
        return json_response(answer)

    return router
