"""LangChain: what embeds (an Encoder), finds (a Searcher), ranks and cuts long texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, PositiveInt

from corom.adapters.common import metadata_of, parts_of, ranked
from corom.encoder import Encoder
from corom.errors import InputError
from corom.reranker import Reranker
from corom.search import Searcher
from corom.splitting import Part, Splitter


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


class CoromRetriever(BaseRetriever):
    """Finds the best `k` passages of an index: whatever a `Searcher` does, filters included.

    A document's metadata has the title, the columns that the index keeps, and the score as
    `relevance_score`, LangChain's name for it.
    """

    searcher: Searcher
    k: PositiveInt = 10

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        [hits] = self.searcher.search([query], self.k)
        return [
            Document(
                id=hit.id,
                page_content=hit.text,
                metadata={**metadata_of(hit), "relevance_score": hit.score},
            )
            for hit in hits
        ]


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
        texts = [document.page_content for document in documents]
        found = ranked(self.reranker, query, texts, most=self.top_n)
        return [_scored(documents[place], score) for place, score in found]


def _scored(document: Document, score: float) -> Document:
    metadata = document.metadata | {"relevance_score": score}
    return document.model_copy(update={"metadata": metadata})


class CoromSplitter(BaseDocumentTransformer):
    """Cuts documents into parts that the model reads to the end, where sentences end.

    Each part has its document's metadata and the place where it begins as `start_index`,
    LangChain's name for it.
    """

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter

    def split_text(self, text: str) -> list[str]:
        """Return the parts of a text."""
        return [part.passage.text for _, part in parts_of(self._splitter, [(text, "")])]

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """Return the parts of documents, in order; the given documents stay as they are."""
        given = list(documents)
        texts = [(document.page_content, "") for document in given]
        return [_part(given[place], part) for place, part in parts_of(self._splitter, texts)]

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:  # noqa: ANN401 - LangChain's signature
        """Return what `split_documents` does; there are no options."""
        if kwargs:
            raise InputError(f"transform_documents takes no option {next(iter(kwargs))!r}")
        return self.split_documents(documents)


def _part(document: Document, part: Part) -> Document:
    metadata = document.metadata | {"start_index": part.start}
    # Of a document's own id there may be one only.
    return Document(page_content=part.passage.text, metadata=metadata)
