"""What only the page asks for: the map, and what is served."""

from __future__ import annotations

from pydantic import BaseModel, Field

from corom.serving.collection import Mode
from corom.serving.schemas import Request, Text
from corom.serving.settings import MAX_CHARACTERS


class MapPoint(BaseModel):
    """A passage on the map; the point's position in the list is its row."""

    id: str
    title: str
    text: str = Field(description="its beginning")
    x: float = Field(description="0 to 1")
    y: float = Field(description="0 to 1")
    group: int


class MapGroup(BaseModel):
    """A cluster and where its name goes."""

    name: str
    x: float
    y: float
    size: int


class MapResponse(BaseModel):
    """A sample of the collection in the plane."""

    points: list[MapPoint]
    groups: list[MapGroup]
    method: str
    passages: int = Field(description="in the whole collection")
    checksum: str = Field(description="of the passages shown: whether rows are still the same")


class _OfMap(Request):
    checksum: str | None = Field(
        None, max_length=64, description="of the map that is asked about; 409 if it is another now"
    )


class PlaceRequest(_OfMap):
    """POST /v1/map/place."""

    query: Text


class NearRequest(_OfMap):
    """POST /v1/map/near."""

    row: int = Field(ge=0)


class Neighbour(BaseModel):
    """A point of the map and its cosine."""

    row: int
    score: float


class PlaceResponse(BaseModel):
    """Where a query lies, and the points nearest to it (by vectors, not on the map)."""

    x: float
    y: float
    near: list[Neighbour]


class Loaded(BaseModel):
    """What is known of any model."""

    name: str
    max_length: int = Field(description="tokens of a text; of a reranker's query and passage")
    engine: str
    precision: str
    fingerprint: str


class ModelFacts(Loaded):
    """What is known of the model."""

    dim: int
    pooling: str
    normalize: bool


class RerankerFacts(Loaded):
    """What is known of the reranker."""

    depth: int = Field(description="hits of a search that it reads")
    share: float = Field(description="what its scores count")


class CollectionFacts(BaseModel):
    """What is known of the collection."""

    name: str
    passages: int
    modes: list[Mode]


class About(BaseModel):
    """GET /v1/about."""

    version: str
    model: ModelFacts
    reranker: RerankerFacts | None
    collection: CollectionFacts | None
    max_characters: int = MAX_CHARACTERS
    card: str | None = Field(description="the README.md of the model folder")
