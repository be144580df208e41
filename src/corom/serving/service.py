"""What the routes work with: the models behind their queues, the collection, the metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from corom.encoder import Encoder
from corom.errors import CoromError, InputError
from corom.reranker import SecondPass
from corom.serving.batching import Batcher, Encoded, Waiting
from corom.serving.collection import Collection, Mode
from corom.serving.errors import ApiError
from corom.serving.folders import Folders
from corom.serving.keys import KeyRing
from corom.serving.reading import PairReader, Reader, TextReader
from corom.serving.settings import ServeSettings
from corom.serving.telemetry import Door, Telemetry, place_of, record_of
from corom.similarity import score_matrix
from corom.vectors import Vectors, normalized, truncated

_PROBE = "头痛"
_TIMED = 32
"""texts, of 2 to 126 tokens"""
_LOOK_AGAIN_S = 2.0

_log = logging.getLogger(__name__)


class Second(NamedTuple):
    """A reranker behind its queue, and how it orders what was found."""

    name: str
    rules: SecondPass
    batcher: Batcher


class Service:
    """One model, ready to answer, and a reranker if there is one.

    `folders`: where `collection` was opened from, to be opened again when it has changed. `card`
    is the README.md of the model's folder, for the page.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: Collection | None = None,
        folders: Folders | None = None,
        second: SecondPass | None = None,
        card: str | None = None,
        settings: ServeSettings | None = None,
    ) -> None:
        settings = settings or ServeSettings()
        self.encoder, self.collection, self.settings = encoder, collection, settings
        self.card, self._folders = card, folders
        self._stale = ""  # why a newer collection was not taken up
        self.names = settings.names or (model_name(encoder.name),)
        self.name = self.names[0]
        self.keys = KeyRing(settings.keys_file) if settings.keys_file else None
        self.door = Door()
        self.telemetry = Telemetry()
        self.texts = self._batcher(TextReader(encoder))
        self.second = None
        if second is not None:
            reranker = second.reranker
            batcher = self._batcher(PairReader(reranker))
            self.second = Second(model_name(reranker.name), second, batcher)
        self._batchers = [self.texts, *([self.second.batcher] if self.second else [])]
        for name, help_, value in (
            ("corom_inside", "Requests being answered.", lambda: self.door.inside),
            ("corom_waiting_requests", "Requests.", lambda: self.waiting.requests),
            ("corom_waiting_tokens", "Padded tokens.", lambda: self.waiting.tokens),
            ("corom_passages", "In the open index.", lambda: len(self.collection or ())),
            ("corom_index_stale", "1: a newer one was not taken up.", lambda: bool(self._stale)),
        ):
            self.telemetry.watch(name, help_, value)

    def _batcher(self, reader: Reader) -> Batcher:
        return Batcher(
            reader,
            max_queued_tokens=self.settings.max_queued_tokens,
            max_wait_s=self.settings.max_wait_s,
            # It takes twice as long at most, if half of the engine goes to smaller requests.
            max_done_s=self.settings.timeout_s / 2,
            observe=self.telemetry.batch,
        )

    @property
    def waiting(self) -> Waiting:
        """What the engines have not begun."""
        waiting = [batcher.waiting for batcher in self._batchers]
        return Waiting(sum(each.requests for each in waiting), sum(each.tokens for each in waiting))

    def start(self) -> None:
        """Begin to answer."""
        for batcher in self._batchers:
            batcher.start()

    def close(self) -> None:
        """Tell what waits that the server shuts down; return when the engines have stopped."""
        for batcher in self._batchers:
            batcher.close()

    def warm_up(self) -> None:
        """Make every form of the engines, so that no request waits for one, and time the last."""
        self.encoder.encode_passages([_PROBE])
        texts = ["痛" * length for length in range(2, self.encoder.max_length, 4)]
        self.encoder.encode_passages(texts)
        timed = texts[:_TIMED]
        tokens = sum(self.encoder.count_tokens(timed))
        self.texts.expect(tokens / _seconds(lambda: self.encoder.encode_passages(timed)))
        if self.second is not None:
            reranker, probes = self.second.rules.reranker, [_PROBE] * len(timed)
            reranker.score(probes, timed)
            tokens = sum(len(pair.ids) for pair in reranker.cut(probes, timed))
            self.second.batcher.expect(tokens / _seconds(lambda: reranker.score(probes, timed)))
        if self.collection is not None:
            self._warm(self.collection)

    def _warm(self, collection: Collection) -> None:
        """Search in every way, once; ArtifactError for an index of another model."""
        for mode in collection.modes:
            collection.searcher(mode, encoder=Known(self)).search([_PROBE], 1)

    async def follow(self) -> None:
        """Open the collection again whenever it has changed in its folders, for ever.

        What cannot be opened is logged, and what was opened before is served on.
        """
        while (folders := self._folders) is not None:
            await asyncio.sleep(_LOOK_AGAIN_S)
            try:
                if await asyncio.to_thread(folders.changed):
                    self.collection = await asyncio.to_thread(folders.open, try_out=self._warm)
                    self._stale = ""
                    _log.info("the index changed: %s passages", len(self.collection))
                elif await asyncio.to_thread(folders.is_current):
                    self._stale = ""  # what could not be opened is gone
            except Exception as error:  # noqa: BLE001 - whatever it is, the next may be opened
                known = isinstance(error, CoromError | OSError)
                why = str(error) if known else place_of(error)
                if why != self._stale:  # it is tried again and again
                    _log.warning("the index changed and is not taken up: %s", why)
                self._stale = why

    async def embed(
        self,
        request: Request,
        *,
        queries: Sequence[str] = (),
        passages: Sequence[str] = (),
        truncate: bool = True,
    ) -> Encoded:
        """Return the vectors of `queries`, then of `passages`, and note how many for the log.

        Without `truncate` a text the model cannot read to its end is an error.
        """
        found = await self.texts.encode(queries=queries, passages=passages)
        longest = None if truncate else self.encoder.max_length
        first = len(queries) if passages else 0
        return _noted(request, found, longest=longest, first=first)

    async def cosines(
        self, request: Request, query: str, texts: Sequence[str], *, truncate: bool = True
    ) -> list[float]:
        """Return the cosine of each text with the query."""
        found = await self.embed(request, queries=[query], passages=texts, truncate=truncate)
        one, many = found.vectors[:1], found.vectors[1:]
        scores: list[float] = score_matrix(one, many, score="cosine")[0].tolist()
        return scores

    def second_pass(self, *, wanted: bool | None) -> Second | None:
        """Return the second pass of a search, if there is one and it is not unwanted.

        Raises ApiError if it is wanted and there is none.
        """
        if wanted and self.second is None:
            raise ApiError(
                400,
                "no reranker is open: start the server with --rerank FOLDER",
                code="no_reranker",
                param="rerank",
            )
        return None if wanted is False else self.second

    async def read(
        self,
        request: Request,
        second: Second,
        query: str,
        texts: Sequence[str],
        *,
        truncate: bool = True,
    ) -> NDArray[np.float32]:
        """Return how well each text fits the query, `(n,)` logits, and note them for the log."""
        found = await second.batcher.encode(queries=[query] * len(texts), passages=texts)
        longest = None if truncate else second.rules.reranker.max_length
        return _noted(request, found, longest=longest).vectors[:, 0]

    def opened(self, mode: Mode) -> Collection:
        """Return the collection as it is now, for all of a request.

        Raises ApiError if there is none, or none that is searched so.
        """
        if self.collection is None:
            raise ApiError(
                404, "no index is open: start the server with --index DIR", code="no_index"
            )
        if mode not in self.collection.modes:
            raise ApiError(
                400, f"the open index cannot be searched by {mode}", code="no_mode", param="mode"
            )
        return self.collection

    async def probe(self) -> None:
        """Raise ApiError if a model does not answer."""
        for batcher in self._batchers:
            await batcher.encode(queries=[_PROBE], passages=[_PROBE])

    def finish(
        self, vectors: Vectors, *, normalize: bool | None = None, dimensions: int | None = None
    ) -> Vectors:
        """Return raw vectors as `Encoder` gives them: cut to `dimensions`, then of length 1."""
        if dimensions is not None:
            if dimensions > self.encoder.dim:
                raise InputError(f"dimensions: {self.encoder.name} has {self.encoder.dim}")
            vectors = truncated(vectors, dimensions)
        unit = self.encoder.encoding.normalize if normalize is None else normalize
        return normalized(vectors) if unit else vectors


class Known:
    """A query's raw vector, (1, dim), where a `Searcher` expects what encodes it.

    It may be set later, when it has gone through the queue; until then it is zero.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.fingerprint, self.dim = service.encoder.fingerprint, service.encoder.dim
        self.vectors: Vectors = np.zeros((1, self.dim), np.float32)

    def encode_queries(
        self,
        texts: list[str],  # noqa: ARG002 - whose vectors these are
        *,
        normalize: bool | None,
        truncate_dim: int | None,
    ) -> Vectors:
        """Return the vectors as the index needs them."""
        return self._service.finish(self.vectors, normalize=normalize, dimensions=truncate_dim)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _noted(request: Request, found: Encoded, *, longest: int | None, first: int = 0) -> Encoded:
    """Note what was read for the log; raise ApiError if a text is over `longest` tokens.

    The request's texts begin behind the `first`, its query.
    """
    record = record_of(request.scope)
    record.texts += len(found.vectors)
    record.tokens += found.tokens
    if found.truncated and longest is not None:
        place = found.truncated[0] - first
        which = "the query" if place < 0 else f"text {place}"
        raise ApiError(
            422, f"{which} is over {longest} tokens; shorten it, or set truncate", code="too_long"
        )
    return found


def model_name(name: str) -> str:
    """Return the name clients use: that of a folder, without the folders it lies in.

    What a run of training ends in is always called `model`: then the name is the run's.
    """
    if not Path(name).is_dir():
        return name
    folder = Path(name).resolve()
    return folder.parent.name if folder.name == "model" else folder.name
