"""From passages to an index folder, in one call that can be killed and repeated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from corom.encoder import Encoder, Progress
from corom.errors import InputError
from corom.index.spec import BM25Options, IndexSpec
from corom.index.writer import open_writer
from corom.records import Passage
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
    folder: Path,
    passages: Iterable[Passage],
    *,
    spec: IndexSpec,
    encoder: Encoder | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Write the index of `passages` to `folder` and return how many it holds.

    An interrupted build goes on where it stopped, if `spec` is the same; a finished one is left
    as it is. An index of vectors needs the `encoder` its spec names. `passages` must be the same
    each time, in the same order; a few thousand are in memory at once. `progress` counts what is
    encoded in this call. Raises what `open_writer` and `IndexWriter.append` raise.
    """
    with open_writer(folder, spec) as writer:
        return fill(writer, passages, encoder=encoder, progress=progress)


def fill(
    writer: Writer,
    passages: Iterable[Passage],
    *,
    encoder: Encoder | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Do what `build_index` does with a writer that is open already, that of a server perhaps."""
    words = isinstance(writer.spec.options, BM25Options)
    if words != (encoder is None):
        raise InputError("an index of vectors needs an encoder, one of words takes none")
    if encoder is not None and writer.spec.fingerprint != encoder.fingerprint:
        raise InputError(f"the spec's fingerprint is not the encoder's, {encoder.fingerprint}")
    if not writer.complete:
        rest = islice(passages, writer.done, None)
        if encoder is None:
            while part := list(islice(rest, _CHUNK)):
                writer.append(part)
        else:
            _encode(writer, rest, encoder, progress)
        writer.finish()
    return writer.done


def _encode(
    writer: Writer,
    passages: Iterator[Passage],
    encoder: Encoder,
    progress: Callable[[Progress], None] | None,
) -> None:
    waiting: deque[Passage] = deque()

    def texts() -> Iterator[str]:
        for passage in passages:
            waiting.append(passage)
            yield passage.content

    chunks = encoder.stream_passages(
        texts(),
        chunk=_CHUNK,
        normalize=writer.spec.normalized,
        truncate_dim=writer.spec.dim if writer.spec.dim < encoder.dim else None,
        progress=progress,
    )
    for vectors in chunks:
        writer.append([waiting.popleft() for _ in range(len(vectors))], vectors)
