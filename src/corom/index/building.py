"""From passages to an index folder, in one call that can be killed and repeated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from corom.encoder import Encoder, Progress
from corom.errors import InputError
from corom.index.parts import PartOf, blended, parts_of
from corom.index.spec import IndexSpec
from corom.index.writer import open_writer
from corom.records import Passage
from corom.splitting import Splitter
from corom.vectors import Vectors

# What a kill loses at most, and what is in memory at once.
_CHUNK = 4096


class Writer(Protocol):
    """What fills an index: `IndexWriter`, or what loads one into a server (`corom.stores`)."""

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""

    @property
    def done(self) -> int:
        """How many passages are safe, those of killed writers included: skip that many."""

    @property
    def complete(self) -> bool:
        """Whether the index is finished and nothing has changed since."""

    def append(self, passages: Sequence[Passage], vectors: Vectors | None = None) -> None:
        """Add passages, with one vector each unless the index is of words."""

    def finish(self) -> None:
        """Make what was appended the index that everyone sees."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def build_index(
    folder: Path | str,
    passages: Iterable[Passage],
    *,
    spec: IndexSpec,
    encoder: Encoder | None = None,
    splitter: Splitter | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Write the index of `passages` to `folder` and return how many it holds.

    An interrupted build goes on where it stopped, if `spec` is the same; a finished one is left
    as it is. An index of vectors needs the `encoder` its spec names, one of parts is given the
    whole texts and a `splitter` with its `part_tokens`. `passages` must be the same each time, in
    the same order; a few thousand are in memory at once. `progress` counts what is
    encoded in this call. Raises what `open_writer` and `IndexWriter.append` raise.
    """
    with open_writer(folder, spec) as writer:
        return fill(writer, passages, encoder=encoder, splitter=splitter, progress=progress)


def fill(
    writer: Writer,
    passages: Iterable[Passage],
    *,
    encoder: Encoder | None = None,
    splitter: Splitter | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Do what `build_index` does with a writer that is open already, that of a server perhaps."""
    check_makers(writer.spec, encoder=encoder, splitter=splitter)
    if not writer.complete:
        rest = islice(parts_of(passages, splitter), writer.done, None)
        append_parts(writer, rest, encoder=encoder, progress=progress)
        writer.finish()
    return writer.done


def check_makers(spec: IndexSpec, *, encoder: Encoder | None, splitter: Splitter | None) -> None:
    """Raise InputError unless these make the vectors and parts of an index of this spec."""
    if spec.is_words != (encoder is None):
        raise InputError("an index of vectors needs an encoder, one of words takes none")
    if encoder is not None and spec.fingerprint != encoder.fingerprint:
        raise InputError(f"the spec's fingerprint is not the encoder's, {encoder.fingerprint}")
    if encoder is not None and spec.dim > encoder.dim:
        raise InputError(f"the spec has dim {spec.dim}, the encoder {encoder.dim}")
    if spec.part_tokens != (0 if splitter is None else splitter.max_tokens):
        raise InputError(
            f"the spec has part_tokens {spec.part_tokens}; give a splitter for just that"
        )
    if encoder is not None and spec.part_tokens > encoder.max_length:
        raise InputError(
            f"parts of {spec.part_tokens} tokens are longer than the {encoder.max_length} "
            "that the encoder reads"
        )


def append_parts(
    writer: Writer,
    parts: Iterator[PartOf],
    *,
    encoder: Encoder | None,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Encode what is to be encoded and append it, a few thousand at a time."""
    if encoder is None:
        while some := list(islice(parts, _CHUNK)):
            writer.append([part.passage for part in some])
        return
    waiting: deque[PartOf] = deque()

    def texts() -> Iterator[str]:
        for part in parts:
            waiting.append(part)
            yield part.passage.content

    spec = writer.spec
    kept: dict[str, Any] = {"normalize": spec.normalized, "truncate_dim": spec.dim}
    encode = partial(encoder.encode_passages, **kept)
    for vectors in encoder.stream_passages(texts(), chunk=_CHUNK, progress=progress, **kept):
        read = [waiting.popleft() for _ in range(len(vectors))]
        wholes = [part.whole for part in read]
        mixed = blended(vectors, wholes, share=spec.whole_share, encode=encode)
        writer.append([part.passage for part in read], mixed)
