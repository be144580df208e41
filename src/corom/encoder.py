"""The encoder: texts in, vectors out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from corom.checks import require_one_of, require_whole
from corom.engines.base import Engine, EngineName, Precision, encoded
from corom.engines.loading import open_engine
from corom.errors import InputError
from corom.models import EMBEDDED
from corom.models.checkpoint import Checkpoint
from corom.models.config import Encoding
from corom.models.names import open_model
from corom.text import check_texts
from corom.tokens import Batch, TokenCutter, Tokens
from corom.vectors import Vectors, normalized, truncated

Side: TypeAlias = Literal["query", "passage"]

# Texts sorted by length together: enough for full batches of equal length, little memory.
CHUNK = 8192


class Progress(NamedTuple):
    """What a long encoding has done so far."""

    done: int
    """texts"""
    truncated: int
    """texts longer than `max_length` tokens, cut there"""
    tokens: int
    """tokens, special ones included"""


class Encoder:
    """A model that turns queries and passages into vectors.

    The same text gets the same vector whatever its neighbours: to 1e-5 in fp32 and int8. In bf16
    and fp16 sums are rounded by what is computed together: numbers of unit vectors differ by up to
    0.002 (docs/encoding.md).
    Safe to use from several threads; they take turns.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        max_length: int | None = None,
        threads: int | None = None,
        device: str = "auto",
    ) -> None:
        checkpoint.require_encoder()
        self.name, self.folder = checkpoint.name, checkpoint.folder
        self.fingerprint = checkpoint.fingerprint
        self.encoding = checkpoint.encoding
        if max_length is not None and max_length != self.encoding.max_length:
            self.encoding = _with_length(checkpoint, max_length)
            # Another length gives other vectors: an index must be able to tell.
            changed = f"{self.fingerprint} {max_length}".encode()
            self.fingerprint = hashlib.sha256(changed).hexdigest()[:16]
        self.max_length = self.encoding.max_length
        self._engine: Engine = open_engine(
            checkpoint, engine=engine, precision=precision, threads=threads, device=device
        )
        self.engine, self.precision = self._engine.name, self._engine.precision
        self.dim, self.batch_tokens = self._engine.dim, self._engine.batch_tokens
        self.packs = self._engine.packs
        encoding = self.encoding
        query = (encoding.query_prefix, encoding.query_suffix)
        passage = (encoding.passage_prefix, encoding.passage_suffix)
        cutter = self._cutter(checkpoint, *query)
        self._cutters: dict[Side, TokenCutter] = {
            "query": cutter,
            "passage": cutter if passage == query else self._cutter(checkpoint, *passage),
        }

    @classmethod
    def load(
        cls,
        name: str | Path = EMBEDDED,
        *,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        max_length: int | None = None,
        threads: int | None = None,
        device: str = "auto",
        revision: str | None = None,
    ) -> Encoder:
        """Return the encoder called `name`.

        `name`: a folder, `corom-medical` (embedded), `damo/…` or `iic/…` (ModelScope), `org/name`
        (Hugging Face); the last two are downloaded once unless the environment forbids it.
        `engine`: `openvino` (CPU), `native` (int8 on a CPU with AVX-512 VNNI, by corom's own
        kernels) or `torch`; auto takes torch for a CUDA device, native where it is the fastest,
        else openvino.
        `precision`: auto takes int8 for a model that has an int8 form proven faithful, where the
        chip has instructions for it (VNNI); else bf16 where it multiplies that, else fp32. `int8`
        makes the form on first use (a minute or more) and keeps it in the cache folder.
        `max_length`: 2 to 512 tokens, [CLS] and [SEP] included; None takes the model's own.
        Raises ArtifactError for a folder that cannot be used, DownloadError, InputError.
        """
        return cls(
            open_model(name, revision=revision),
            engine=engine,
            precision=precision,
            max_length=max_length,
            threads=threads,
            device=device,
        )

    def encode_queries(
        self,
        texts: Iterable[str],
        *,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Vectors:
        """Return one vector per query, `(n, dim) float32`; no texts give shape (0, dim).

        `normalize` scales to length 1 (None: as the model folder says); `truncate_dim` keeps the
        first numbers of a Matryoshka model, before normalising. An empty text has a vector too,
        that of [CLS] [SEP]. Raises InputError for what is not an iterable of str.
        """
        return _joined(self._stream("query", texts, normalize, truncate_dim, progress, CHUNK))

    def encode_passages(
        self,
        texts: Iterable[str],
        *,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Vectors:
        """Return one vector per passage, `(n, dim) float32`, as `encode_queries` does."""
        return _joined(self._stream("passage", texts, normalize, truncate_dim, progress, CHUNK))

    def stream_passages(
        self,
        texts: Iterable[str],
        *,
        chunk: int = CHUNK,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Iterator[Vectors]:
        """Yield the vectors of `chunk` passages at a time, in order, reading texts as needed."""
        require_whole("chunk", chunk)
        return self._stream("passage", texts, normalize, truncate_dim, progress, chunk)

    def count_tokens(self, texts: Iterable[str], *, side: Side = "passage") -> list[int]:
        """Return how many tokens of each text take part, special ones included."""
        return self._cutter_of(side).count(list(check_texts(texts)))

    def cut(self, texts: Iterable[str], *, side: Side = "passage") -> list[Tokens]:
        """Return the token ids of each text, for a caller that plans its own batches (`run`)."""
        return self._cutter_of(side).cut(list(check_texts(texts)))

    def run(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Hand every batch to `receive` with its raw vectors, (b, dim), as soon as it is computed.

        In any order, from any thread. `batches` is read as the engine gets free, so it may go on
        with what arrives meanwhile: the server's way to batch across requests.
        """
        self._engine.run(batches, receive)

    def _cutter_of(self, side: Side) -> TokenCutter:
        require_one_of("side", side, get_args(Side))
        return self._cutters[side]

    def _cutter(self, checkpoint: Checkpoint, prefix: str, suffix: str) -> TokenCutter:
        return TokenCutter(
            checkpoint.tokenizer_json, max_length=self.max_length, prefix=prefix, suffix=suffix
        )

    def _stream(
        self,
        side: Side,
        texts: Iterable[str],
        normalize: bool | None,
        truncate_dim: int | None,
        progress: Callable[[Progress], None] | None,
        chunk: int,
    ) -> Iterator[Vectors]:
        """Yield chunks of finished vectors; of no texts, one empty chunk."""
        unit = self.encoding.normalize if normalize is None else normalize
        checked, so_far = check_texts(texts), Progress(0, 0, 0)
        part = list(islice(checked, chunk))
        while True:
            vectors, so_far = self._encode(side, part, so_far, progress)
            if truncate_dim is not None:
                vectors = truncated(vectors, truncate_dim)
            yield normalized(vectors) if unit else vectors
            if not (part := list(islice(checked, chunk))):
                return

    def _encode(
        self,
        side: Side,
        texts: list[str],
        so_far: Progress,
        progress: Callable[[Progress], None] | None,
    ) -> tuple[Vectors, Progress]:
        tokens = self._cutters[side].cut(texts)
        cut = np.fromiter((item.truncated for item in tokens), bool, count=len(tokens))

        def count(batch: Batch) -> None:
            nonlocal so_far
            done, truncated_texts, used = so_far
            so_far = Progress(
                done + len(batch.rows),
                truncated_texts + int(cut[batch.rows].sum()),
                used + int(batch.lengths.sum()),
            )
            if progress:
                progress(so_far)

        ids = [item.ids for item in tokens]
        vectors = encoded(self._engine, ids, longest=self.max_length, progress=count)
        return vectors, so_far


def _joined(stream: Iterator[Vectors]) -> Vectors:
    parts = list(stream)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _with_length(checkpoint: Checkpoint, max_length: int) -> Encoding:
    if type(max_length) is int and max_length > checkpoint.shape.positions:
        raise InputError(
            f"max_length {max_length} is more than the {checkpoint.shape.positions} positions "
            f"of {checkpoint.name}"
        )
    return replace(checkpoint.encoding, max_length=max_length)
