"""What requests and answers look like: OpenAI's shapes, text-embeddings-inference's, Jina's.

Requests are strict: no conversions, no unknown fields. The limits are part of the types, so
/openapi.json states them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from corom.encoder import Side
from corom.serving.settings import MAX_CHARACTERS, MAX_TEXTS

Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]


def _as_list(value: Any) -> Any:  # noqa: ANN401 - not validated yet
    """Return a single text as a list of one; tell those who send token ids what to do."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(isinstance(item, int | list) for item in value[:1]):
        raise PydanticCustomError(
            "token_ids",
            "token ids belong to another model's tokenizer: send texts. In LangChain: "
            "OpenAIEmbeddings(check_embedding_ctx_length=False)",
        )
    return value


Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
TextOrTexts = Annotated[Texts, BeforeValidator(_as_list, json_schema_input_type=Text | Texts)]


class Request(BaseModel):
    """The base of all requests."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Usage(BaseModel):
    """How many tokens took part, special ones included."""

    prompt_tokens: int
    total_tokens: int


# OpenAI ------------------------------------------------------------------------------------------


class EmbeddingsRequest(Request):
    """POST /v1/embeddings."""

    input: TextOrTexts
    model: str | None = Field(None, max_length=200, description="as /v1/models names it")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="keep the first (Matryoshka models)")
    user: str | None = Field(None, max_length=200, description="ignored")
    input_type: Side = Field("passage", description="some models put words before queries")


class Embedding(BaseModel):
    """One vector; as base64 it is little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsResponse(BaseModel):
    """The vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
    truncated: list[int] = Field(description="positions of texts longer than the model reads")


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "corom"


class Models(BaseModel):
    """GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[Model]


# text-embeddings-inference -----------------------------------------------------------------------


class _Truncating(Request):
    truncate: bool = Field(True, description="false: a text that is too long is an error")
    truncation_direction: Literal["Right", "right"] = "Right"


class EmbedRequest(_Truncating):
    """POST /embed."""

    inputs: TextOrTexts
    normalize: bool = True
    dimensions: int | None = Field(None, ge=1)
    prompt_name: Side | None = Field(None, description="default: passage")


class SimilarityInputs(Request):
    """One sentence and those to compare it with."""

    source_sentence: Text
    sentences: Texts


class SimilarityParameters(_Truncating):
    """Options of POST /similarity."""


class TeiSimilarityRequest(Request):
    """POST /similarity: cosines."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TeiRerankRequest(_Truncating):
    """POST /rerank: texts by the scores of model and reranker, or by their cosine."""

    query: Text
    texts: Texts
    raw_scores: bool = Field(
        False, description="a reranker's logits, alone and as they are; cosines never change"
    )
    return_text: bool = False


class Rank(BaseModel):
    """A text's place in the request, and its score; best first."""

    index: int
    score: float
    text: str | None = None


class Pooling(BaseModel):
    """How TEI names the pooling."""

    pooling: str


class ModelType(BaseModel):
    """How TEI names the kind of model."""

    embedding: Pooling


class Info(BaseModel):
    """GET /info."""

    model_id: str
    model_sha: str
    model_dtype: str
    model_type: ModelType
    max_input_length: int
    max_client_batch_size: int
    max_batch_tokens: int
    max_concurrent_requests: int
    auto_truncate: bool = True
    version: str


# Jina, Cohere ------------------------------------------------------------------------------------


class Document(BaseModel):
    """A text that is ranked."""

    text: Text


def _text_of(value: Any) -> Any:  # noqa: ANN401 - not validated yet
    """Return the text of `{"text": …}`, as which some clients send documents."""
    return value["text"] if isinstance(value, dict) and set(value) == {"text"} else value


Documents = Annotated[
    list[Annotated[Text, BeforeValidator(_text_of, json_schema_input_type=Text | Document)]],
    Field(min_length=1, max_length=MAX_TEXTS),
]


class RerankRequest(Request):
    """POST /v1/rerank: documents by the scores of model and reranker, or by their cosine."""

    query: Text
    documents: Documents
    model: str | None = Field(None, max_length=200, description="the reranker's name, or none")
    top_n: int | None = Field(None, ge=1, description="default: all")
    return_documents: bool = True


class Result(BaseModel):
    """A document's place in the request, and its score; best first."""

    index: int
    relevance_score: float = Field(description="a reranker's, 0 to 1; or a cosine")
    document: Document | None = None


class RerankResponse(BaseModel):
    """The best documents, best first."""

    model: str
    usage: Usage
    results: list[Result]
