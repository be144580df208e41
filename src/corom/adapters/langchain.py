"""LangChain: an `Embeddings` around an Encoder."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from corom.encoder import Encoder


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
