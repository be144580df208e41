"""What the routes work with: the model behind its queue, the collection, the metrics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fastapi import Request, Response
from pydantic_core import to_json

from corom.encoder import Encoder
from corom.errors import InputError
from corom.serving.batching import Batcher, Encoded
from corom.serving.collection import Collection, Mode
from corom.serving.errors import ApiError
from corom.serving.keys import KeyRing
from corom.serving.settings import ServeSettings
from corom.serving.telemetry import Door, Telemetry, record_of
from corom.vectors import Vectors, normalized, truncated

_PROBE = "头痛"
_TIMED = 32
"""texts, of 2 to 126 tokens"""


class Service:
    """One model, ready to answer; `card` is the README.md of its folder, for the page."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: Collection | None = None,
        card: str | None = None,
        settings: ServeSettings | None = None,
    ) -> None:
        settings = settings or ServeSettings()
        self.encoder, self.collection, self.settings = encoder, collection, settings
        self.card = card
        self.name = model_name(encoder.name)
        self.keys = KeyRing(settings.keys_file) if settings.keys_file else None
        self.door = Door()
        self.telemetry = Telemetry()
        self.batcher = Batcher(
            encoder,
            max_queued_tokens=settings.max_queued_tokens,
            max_wait_s=settings.max_wait_s,
            # It takes twice as long at most, if half of the engine goes to smaller requests.
            max_done_s=settings.timeout_s / 2,
            observe=self.telemetry.batch,
        )
        for name, help_, value in (
            ("corom_inside", "Requests being answered.", lambda: self.door.inside),
            ("corom_waiting_requests", "Requests.", lambda: self.batcher.waiting.requests),
            ("corom_waiting_tokens", "Padded tokens.", lambda: self.batcher.waiting.tokens),
        ):
            self.telemetry.watch(name, help_, value)

    def warm_up(self) -> None:
        """Make every form of the engine, so that no request waits for one, and time the last."""
        self.encoder.encode_passages([_PROBE])
        texts = ["痛" * length for length in range(2, self.encoder.max_length, 4)]
        self.encoder.encode_passages(texts)
        timed, begun = texts[:_TIMED], time.perf_counter()
        self.encoder.encode_passages(timed)
        seconds = time.perf_counter() - begun
        self.batcher.expect(sum(self.encoder.count_tokens(timed)) / seconds)
        if self.collection is not None:
            if self.collection.vectors is not None:
                nothing = np.zeros((1, self.encoder.dim), np.float32)
                self.collection.by_vector(self.for_index(nothing)[0], 1)
            self.collection.by_words(_PROBE, 1)

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
        found = await self.batcher.encode(queries=queries, passages=passages)
        record = record_of(request.scope)
        record.texts += len(queries) + len(passages)
        record.tokens += found.tokens
        if found.truncated and not truncate:
            raise ApiError(
                422,
                f"text {found.truncated[0]} is over {self.encoder.max_length} tokens; "
                "shorten it, or set truncate",
                code="too_long",
            )
        return found

    def for_index(self, vectors: Vectors) -> Vectors:
        """Return raw vectors of queries as the opened index of vectors needs them."""
        index = self.opened("dense").vectors
        if index is None:
            return vectors
        return self.finish(vectors, normalize=index.spec.normalized, dimensions=index.dim)

    def opened(self, mode: Mode) -> Collection:
        """Return the collection; raise ApiError if there is none, or none that is searched so."""
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
        """Raise ApiError if the model does not answer."""
        await self.batcher.encode(queries=[_PROBE])

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


def model_name(name: str) -> str:
    """Return the name clients use: that of a folder, without the folders it lies in."""
    return Path(name).resolve().name if Path(name).is_dir() else name


def json_response(value: object) -> Response:
    """Return an answer that needs no checking by FastAPI: many thousands of numbers."""
    return Response(to_json(value), media_type="application/json")
