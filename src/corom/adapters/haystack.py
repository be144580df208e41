"""Haystack: components that cut and embed documents, embed queries, search, and rank anew.

Pipelines are written to files, so the components take a model's name, and load it on first use
(or in `warm_up`, which pipelines call). Haystack writes and reads a component by the options of
its `__init__`, which are its attributes here. Reading such a file back, it wants to be told that
this module may be used: `Pipeline.loads(text, allowed_modules=["corom.adapters.haystack"])`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from haystack import Document, component

from corom.adapters.common import metadata_of, parts_of, ranked
from corom.encoder import Encoder
from corom.engines.base import Precision
from corom.models import EMBEDDED
from corom.reranker import Reranker
from corom.search import Searcher
from corom.splitting import Part, Splitter
from corom.stores import by_kind, open_any


@dataclass(eq=False)
class _Embedder:
    model: str = EMBEDDED
    _: KW_ONLY
    precision: Precision = "auto"
    max_length: int | None = None
    normalize: bool | None = None

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder.load(self.model, precision=self.precision, max_length=self.max_length)

    def warm_up(self) -> None:
        """Load the model, once."""
        _ = self._encoder


@component
@dataclass(eq=False)
class CoromTextEmbedder(_Embedder):
    """A query in, its vector out. The options are those of `Encoder.load`."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Return `{"embedding": …}`."""
        vectors = self._encoder.encode_queries([text], normalize=self.normalize)
        return {"embedding": vectors[0].tolist()}


@component
@dataclass(eq=False)
class CoromDocumentEmbedder(_Embedder):
    """Documents in, the same with their vectors out: of their content, as passages.

    A title, or other `meta_fields`, goes before the content. Documents without content count as
    empty texts. The options are those of `Encoder.load`.
    """

    meta_fields: list[str] | None = None

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return `{"documents": …}`; the given documents stay as they are."""
        texts = [_text(document, self.meta_fields) for document in documents]
        vectors = self._encoder.encode_passages(texts, normalize=self.normalize)
        pairs = zip(documents, vectors.tolist(), strict=True)
        return {"documents": [replace(document, embedding=found) for document, found in pairs]}


@component
@dataclass(eq=False)
class CoromSplitter:
    """Documents in, parts of them out that the model reads to the end.

    The options are those of `Splitter.load`; name the same `meta_fields` as for the
    `CoromDocumentEmbedder`, which puts them before the content. A part has its document's meta and
    what Haystack's own splitter adds: `source_id`, `split_id` and `split_idx_start`.
    """

    model: str = EMBEDDED
    _: KW_ONLY
    max_tokens: int | None = None
    overlap: int = 0
    meta_fields: list[str] | None = None

    @cached_property
    def _splitter(self) -> Splitter:
        return Splitter.load(self.model, max_tokens=self.max_tokens, overlap=self.overlap)

    def warm_up(self) -> None:
        """Load the model's tokenizer, once."""
        _ = self._splitter

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return `{"documents": …}`, in order; the given documents stay as they are."""
        texts = [(each.content or "", _title(each, self.meta_fields)) for each in documents]
        parts = groupby(parts_of(self._splitter, texts), itemgetter(0))
        return {
            "documents": [
                _part(documents[place], part, number)
                for place, own in parts
                for number, (_, part) in enumerate(own)
            ]
        }


@component
@dataclass(eq=False)
class CoromRetriever:
    """A query in, the best `top_k` passages of an index out, by vectors or by words.

    `index` is what `corom index` made, a folder or a server's URI; `model` where its model is now,
    by default what the index says. A document's meta has the title and the columns that the index
    keeps.
    """

    index: str
    _: KW_ONLY
    model: str | None = None
    precision: Precision = "auto"
    max_length: int | None = None
    top_k: int = 10

    @cached_property
    def _searcher(self) -> Searcher:
        vectors, words = by_kind(open_any(self.index))
        if vectors is None:
            return Searcher(words=words)
        encoder = Encoder.load(
            self.model or vectors.spec.model, precision=self.precision, max_length=self.max_length
        )
        return Searcher(vectors, encoder=encoder)

    def warm_up(self) -> None:
        """Open the index and load its model, once."""
        _ = self._searcher

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None) -> dict[str, list[Document]]:
        """Return `{"documents": …}`, best first; `top_k` here goes before that of the component."""
        [hits] = self._searcher.search([query], self.top_k if top_k is None else top_k)
        return {
            "documents": [
                Document(id=hit.id, content=hit.text, meta=metadata_of(hit), score=hit.score)
                for hit in hits
            ]
        }


@component
@dataclass(eq=False)
class CoromRanker:
    """A query and documents in, the documents out in the order of a reranker, at most `top_k`.

    `model` is the reranker's folder or name; the options are those of `Reranker.load`, and
    `meta_fields` as in `CoromDocumentEmbedder`. A document's new score is its logit.
    """

    model: str
    _: KW_ONLY
    precision: Precision = "auto"
    max_length: int | None = None
    top_k: int | None = None
    meta_fields: list[str] | None = None

    @cached_property
    def _reranker(self) -> Reranker:
        return Reranker.load(self.model, precision=self.precision, max_length=self.max_length)

    def warm_up(self) -> None:
        """Load the model, once."""
        _ = self._reranker

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return `{"documents": …}`, best first; `top_k` here goes before that of the component."""
        texts = [_text(document, self.meta_fields) for document in documents]
        most = self.top_k if top_k is None else top_k
        found = ranked(self._reranker, query, texts, most=most)
        return {"documents": [replace(documents[place], score=score) for place, score in found]}


def _title(document: Document, meta_fields: list[str] | None) -> str:
    fields = meta_fields or []
    return " ".join(str(document.meta[field]) for field in fields if document.meta.get(field))


def _text(document: Document, meta_fields: list[str] | None) -> str:
    title = _title(document, meta_fields)
    return f"{title} {document.content or ''}" if title else document.content or ""


def _part(document: Document, part: Part, number: int) -> Document:
    own = {"source_id": document.id, "split_id": number, "split_idx_start": part.start}
    # An id of its own is made of the content and the meta.
    return replace(document, id="", content=part.passage.text, meta=document.meta | own)
