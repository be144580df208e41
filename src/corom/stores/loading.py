"""Vectors that are there already, from a folder of `corom encode`, into any index."""

from __future__ import annotations

from collections.abc import Callable

from corom.errors import InputError
from corom.index.building import Writer
from corom.index.spec import IndexSpec, Options, VectorType
from corom.sharding import ShardedVectors

_CHUNK = 4096


def spec_of_shards(
    shards: ShardedVectors, options: Options, *, vector_type: VectorType
) -> IndexSpec:
    """Return what an index of these vectors is."""
    made = shards.spec
    if made.side != "passage":
        raise InputError(f"{shards.folder} holds vectors of queries; an index is of passages")
    return IndexSpec(
        options=options,
        dim=made.dim,
        fingerprint=made.fingerprint,
        normalized=made.normalized,
        source=shards.source,
        model=made.model,
        vector_type=vector_type,
    )


def load_shards(
    writer: Writer, shards: ShardedVectors, *, progress: Callable[[int], None] | None = None
) -> int:
    """Write vectors and their passages, read again from where they came from, into an index.

    Shards that are loaded already are not read. `progress` is told how many passages are in.
    Raises ArtifactError if the passages are no longer as they were, and what the writer raises.
    """
    if not writer.complete:
        loaded = writer.done
        for passages, vectors in shards.with_passages(skip=loaded):
            for start in range(0, len(passages), _CHUNK):
                part = slice(start, start + _CHUNK)
                writer.append(passages[part], vectors[part])
                loaded += len(passages[part])
                if progress:
                    progress(loaded)
        writer.finish()
    return writer.done
