"""LangChain: an `Embeddings` around an Encoder, a `BaseDocumentCompressor` around a Reranker."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict, PositiveInt

from corom.encoder import Encoder
from corom.records import Passage
from corom.reranker import Reranker


class CoromEmbeddings(Embeddings):
    """Embeds documents as passages and queries as queries.

    `normalize` and `truncate_dim` are those of `Encoder.encode_passages`.
    """

    def __init__(
        self, encoder: Encoder, *, normalize: bool | None = None, truncate_dim: int | None = None
    ) -> None:
        self._encoder, self._normalize, self._dim = encoder, normalize, truncate_dim

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text."""
        vectors = self._encoder.encode_passages(
            texts, normalize=self._normalize, truncate_dim=self._dim
        )
        numbers: list[list[float]] = vectors.tolist()
        return numbers

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        vectors = self._encoder.encode_queries(
            [text], normalize=self._normalize, truncate_dim=self._dim
        )
        numbers: list[float] = vectors[0].tolist()
        return numbers


class CoromReranker(BaseDocumentCompressor):
    """Reads documents with the query and returns them in their new order, at most `top_n`.

    Each with its logit as `relevance_score` in the metadata, LangChain's name for it; for
    `ContextualCompressionRetriever`. The given documents stay as they are.
    """

    reranker: Reranker
    top_n: PositiveInt | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        """Return the documents that fit `query` best, best first."""
        passages = [
            Passage(str(place), document.page_content) for place, document in enumerate(documents)
        ]
        hits = self.reranker.rank(query, passages, k=self.top_n)
        return [_scored(documents[int(hit.id)], hit.score) for hit in hits]


def _scored(document: Document, score: float) -> Document:
    metadata = document.metadata | {"relevance_score": score}
    return document.model_copy(update={"metadata": metadata})
