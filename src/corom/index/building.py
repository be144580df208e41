"""From passages to an index folder, in one call that can be killed and repeated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from corom.encoder import Encoder, Progress
from corom.errors import InputError
from corom.index.spec import BM25Options, IndexSpec
from corom.index.writer import IndexWriter, open_writer
from corom.records import Passage

# What a kill loses at most, and what is in memory at once.
_CHUNK = 4096


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
    words = isinstance(spec.options, BM25Options)
    if words != (encoder is None):
        raise InputError("an index of vectors needs an encoder, one of words takes none")
    if encoder is not None and spec.fingerprint != encoder.fingerprint:
        raise InputError(f"the spec's fingerprint is not the encoder's, {encoder.fingerprint}")
    with open_writer(folder, spec) as writer:
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
    writer: IndexWriter,
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
