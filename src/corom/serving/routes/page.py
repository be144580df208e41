"""The page, and what it says about the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse

from corom import __version__
from corom.encoder import Encoder
from corom.reranker import Reranker
from corom.serving.own_schemas import About, CollectionFacts, ModelFacts, RerankerFacts
from corom.serving.service import Second, Service

FILES = Path(__file__).parents[1] / "web"
# A browser may keep the files, but asks whether they changed.
_ASK = {"cache-control": "no-cache"}


def routes(service: Service) -> APIRouter:
    """Return the page at /, its files below /static and /v1/about."""
    router = APIRouter()
    files = {path.name: path for path in FILES.iterdir() if path.is_file()}

    @router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> FileResponse:
        """Return the page."""
        return FileResponse(files["index.html"], headers=_ASK)

    for name, path in files.items():
        router.add_api_route(
            f"/static/{name}",
            # A default argument: the loop's variable would be the last file for all of them.
            lambda path=path: FileResponse(path, headers=_ASK),
            methods=["GET"],
            include_in_schema=False,
            response_class=FileResponse,
        )

    @router.get("/v1/about", tags=["corom"])
    async def about() -> About:
        """What is served."""
        encoder, collection = service.encoder, service.collection
        return About(
            version=__version__,
            model=ModelFacts(
                **_loaded(service.name, encoder),
                dim=encoder.dim,
                pooling=encoder.encoding.pooling,
                normalize=encoder.encoding.normalize,
            ),
            reranker=None if service.second is None else _reranker_facts(service.second),
            collection=None
            if collection is None
            else CollectionFacts(
                name=collection.name, passages=len(collection), modes=list(collection.modes)
            ),
            card=service.card,
        )

    return router


def _loaded(name: str, model: Encoder | Reranker) -> dict[str, Any]:
    known = ("max_length", "engine", "precision", "fingerprint")
    return {"name": name, **{fact: getattr(model, fact) for fact in known}}


def _reranker_facts(second: Second) -> RerankerFacts:
    rules = second.rules
    return RerankerFacts(
        **_loaded(second.name, rules.reranker), depth=rules.depth, share=rules.share
    )
