"""LlamaIndex: a `BaseEmbedding` around an Encoder."""

from __future__ import annotations

import asyncio

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from corom.encoder import Encoder

# One call encodes so many texts: enough for full batches of equal length.
_AT_ONCE = 1024


class CoromEmbedding(BaseEmbedding):
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

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex writes into its files."""
        return "CoromEmbedding"

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

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
