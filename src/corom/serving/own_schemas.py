"""What requests and answers of corom's own routes look like: similarity, search, the page's."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from corom.highlight import MAX_SENTENCES
from corom.search import Fusion
from corom.serving.collection import Mode
from corom.serving.schemas import Request, Text, TextOrTexts, Usage
from corom.serving.settings import MAX_CHARACTERS, MAX_MATRIX, MAX_TEXTS
from corom.similarity import Score


class SimilarityRequest(Request):
    """POST /v1/similarity: the input of the model card's pipeline."""

    source_sentence: TextOrTexts
    sentences_to_compare: Annotated[list[Text], Field(max_length=MAX_TEXTS)] | None = None
    score: Score = "dot"
    embeddings: bool = Field(False, description="answer with `text_embedding` as well")
    matrix: bool = Field(
        False,
        description=f"answer with every text's score with every other, of up to {MAX_MATRIX} texts",
    )


class SimilarityResponse(BaseModel):
    """Scores of the first source sentence with all others, in their order."""

    scores: list[float]
    matrix: list[list[float]] | None = None
    text_embedding: list[list[float]] | None = None
    model: str
    usage: Usage
    truncated: list[int]


Span = tuple[int, int]
"""First character and the one behind the last."""


Value = Annotated[str, Field(min_length=1, max_length=1000)]
Values = Annotated[list[Value], Field(min_length=1, max_length=1000)]


class Bounds(Request):
    """What a value is at least, above, at most, below; compared as text."""

    gte: Value | None = None
    gt: Value | None = None
    lte: Value | None = None
    lt: Value | None = None


class SearchRequest(Request):
    """POST /v1/search."""

    query: Text
    k: int = Field(10, ge=1, le=100)
    mode: Mode = Field("dense", description="both: the scores of dense and bm25, summed")
    weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description=f"with mode both: what dense counts, bm25 the rest; default {Fusion.vectors}",
    )
    where: dict[str, Values | Bounds] = Field(
        {},
        max_length=20,
        description="only passages whose kept column (corom index --keep) is one of some values, "
        "or within bounds; of several columns all",
    )
    rerank: bool | None = Field(
        None, description="have the reranker read the first hits; default: if there is one"
    )
    by_document: bool | None = Field(
        None,
        description="of passages that are parts of one text (corom split) only the best; "
        "default: if the index was made of parts",
    )
    marks: bool = Field(
        False,
        description="mark what answers: but for bm25 it costs the encoding of the first "
        f"{MAX_SENTENCES} sentences of each hit",
    )


class Marks(BaseModel):
    """What in a passage answers: positions of characters in its text."""

    words: list[Span] = Field(description="shared with the query")
    sentence: Span | None = Field(description="the nearest by vectors, or by shared words")


class SearchHit(BaseModel):
    """A passage that was found."""

    rank: int
    id: str
    score: float = Field(
        description="dense: the model's similarity; bm25: 0 upwards, unbounded; both: 0 to 1; "
        "reranked: 0 to 1 for what the reranker read, below for the rest"
    )
    title: str
    text: str
    fields: dict[str, str] = Field(description="the columns that the index keeps")
    marks: Marks | None = None


class SearchResponse(BaseModel):
    """The best passages, best first."""

    hits: list[SearchHit]
    mode: Mode
    reranked: bool
    collection: str
    passages: int
    model: str
    milliseconds: float
    truncated: bool = Field(description="whether the query was longer than the model reads")


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

    name: str = Field(description="a typical title, or telling words")
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
