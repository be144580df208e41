"""LlamaIndex: what embeds (an Encoder), finds (a Searcher), ranks and cuts long texts."""

from __future__ import annotations

import asyncio

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.node_parser.interface import MetadataAwareTextSplitter
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from corom.adapters.common import metadata_of, parts_of, ranked
from corom.encoder import Encoder
from corom.errors import InputError
from corom.reranker import Reranker
from corom.search import Searcher
from corom.splitting import Splitter

# One call encodes so many texts: enough for full batches of equal length.
_AT_ONCE = 1024


class _Named:
    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex writes into its files."""
        return cls.__name__


class CoromEmbedding(_Named, BaseEmbedding):
    """Embeds texts as passages and queries as queries.

    `normalize` and `truncate_dim` are those of `Encoder.encode_passages`.
    """

    _encoder: Encoder = PrivateAttr()
    _normalize: bool | None = PrivateAttr()
    _dim: int | None = PrivateAttr()

    def __init__(
        self, encoder: Encoder, *, normalize: bool | None = None, truncate_dim: int | None = None
    ) -> None:
        super().__init__(model_name=encoder.name, embed_batch_size=_AT_ONCE)
        self._encoder, self._normalize, self._dim = encoder, normalize, truncate_dim

    def _get_query_embedding(self, query: str) -> list[float]:
        vectors = self._encoder.encode_queries(
            [query], normalize=self._normalize, truncate_dim=self._dim
        )
        numbers: list[float] = vectors[0].tolist()
        return numbers

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors = self._encoder.encode_passages(
            texts, normalize=self._normalize, truncate_dim=self._dim
        )
        numbers: list[list[float]] = vectors.tolist()
        return numbers

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


class CoromRetriever(BaseRetriever):
    """Finds the best `k` passages of an index: whatever a `Searcher` does, filters included.

    A node's metadata has the title and the columns that the index keeps.
    """

    def __init__(self, searcher: Searcher, *, k: int = 10) -> None:
        super().__init__()
        self._searcher, self._k = searcher, k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        [hits] = self._searcher.search([query_bundle.query_str], self._k)
        return [
            NodeWithScore(
                node=TextNode(id_=hit.id, text=hit.text, metadata=metadata_of(hit)),
                score=hit.score,
            )
            for hit in hits
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class CoromReranker(_Named, BaseNodePostprocessor):
    """Reads nodes with the query and returns them in their new order, at most `top_n`.

    A node's new score is its logit. What is read of it is what is embedded of it
    (`MetadataMode.EMBED`). The given nodes stay as they are.
    """

    _reranker: Reranker = PrivateAttr()
    _top_n: int | None = PrivateAttr()

    def __init__(self, reranker: Reranker, *, top_n: int | None = None) -> None:
        super().__init__()
        self._reranker, self._top_n = reranker, top_n

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputError("a reranker reads nodes with a query: give query_str or query_bundle")
        texts = [node.node.get_content(MetadataMode.EMBED) for node in nodes]
        found = ranked(self._reranker, query_bundle.query_str, texts, most=self._top_n)
        return [NodeWithScore(node=nodes[place].node, score=score) for place, score in found]


class CoromSplitter(_Named, MetadataAwareTextSplitter):
    """Cuts documents into nodes that the model reads to the end, metadata included.

    `Settings.text_splitter` and `transformations` take it.
    """

    _splitter: Splitter = PrivateAttr()

    def __init__(self, splitter: Splitter) -> None:
        super().__init__()
        self._splitter = splitter

    def split_text(self, text: str) -> list[str]:
        """Return the parts of a text."""
        return self.split_text_metadata_aware(text, "")

    def split_text_metadata_aware(self, text: str, metadata_str: str) -> list[str]:
        """Return the parts of a text that metadata is put before.

        Raises InputError for metadata of more than half of what a part may hold.
        """
        return [part.passage.text for _, part in parts_of(self._splitter, [(text, metadata_str)])]
