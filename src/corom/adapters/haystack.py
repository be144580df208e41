"""Haystack: a component for queries and one for documents.

Pipelines are written to files, so the components take a model's name, and load it on first use
(or in `warm_up`, which pipelines call). Reading such a file back, Haystack wants to be told that
this module may be used: `Pipeline.loads(text, allowed_modules=["corom.adapters.haystack"])`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from corom.encoder import EMBEDDED, Encoder
from corom.engines.base import Precision


@dataclass(frozen=True, kw_only=True)
class _Options:
    model: str
    precision: Precision
    max_length: int | None
    normalize: bool | None

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder.load(self.model, precision=self.precision, max_length=self.max_length)


@component
class CoromTextEmbedder:
    """A query in, its vector out. The options are those of `Encoder.load`."""

    def __init__(
        self,
        model: str = EMBEDDED,
        *,
        precision: Precision = "auto",
        max_length: int | None = None,
        normalize: bool | None = None,
    ) -> None:
        self._options = _Options(
            model=model, precision=precision, max_length=max_length, normalize=normalize
        )

    def warm_up(self) -> None:
        """Load the model, once."""
        _ = self._options.encoder

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Return `{"embedding": …}`."""
        options = self._options
        vectors = options.encoder.encode_queries([text], normalize=options.normalize)
        return {"embedding": vectors[0].tolist()}

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes this again from."""
        return default_to_dict(self, **asdict(self._options))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CoromTextEmbedder:
        """Return what `to_dict` described."""
        made: CoromTextEmbedder = default_from_dict(cls, data)
        return made


@component
class CoromDocumentEmbedder:
    """Documents in, the same with their vectors out: of their content, as passages.

    A title, or other `meta_fields`, goes before the content. Documents without content count as
    empty texts. The options are those of `Encoder.load`.
    """

    def __init__(
        self,
        model: str = EMBEDDED,
        *,
        precision: Precision = "auto",
        max_length: int | None = None,
        normalize: bool | None = None,
        meta_fields: list[str] | None = None,
    ) -> None:
        self._options = _Options(
            model=model, precision=precision, max_length=max_length, normalize=normalize
        )
        self._fields = list(meta_fields or [])

    def warm_up(self) -> None:
        """Load the model, once."""
        _ = self._options.encoder

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return `{"documents": …}`; the given documents stay as they are."""
        options = self._options
        texts = [self._text(document) for document in documents]
        vectors = options.encoder.encode_passages(texts, normalize=options.normalize)
        pairs = zip(documents, vectors.tolist(), strict=True)
        return {"documents": [replace(document, embedding=found) for document, found in pairs]}

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes this again from."""
        return default_to_dict(self, **asdict(self._options), meta_fields=self._fields)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CoromDocumentEmbedder:
        """Return what `to_dict` described."""
        made: CoromDocumentEmbedder = default_from_dict(cls, data)
        return made

    def _text(self, document: Document) -> str:
        parts = [str(document.meta[field]) for field in self._fields if document.meta.get(field)]
        return " ".join([*parts, document.content or ""])
