"""What a record's source is called, and what patterns of such names say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from corom.readers.compression import COMPRESSIONS, plain_name


def row_weights(sources: Sequence[str], patterns: Mapping[str, float]) -> NDArray[np.float64]:
    """Return how often each row is used per epoch: its source's first matching pattern, or 1.

    A pattern may have the endings of a file's name, which a source has not (`plain_source`).
    """
    known = {
        source: next((w for pattern, w in patterns.items() if _matches(source, pattern)), 1.0)
        for source in set(sources)
    }
    return np.array([known[source] for source in sources], dtype=np.float64)


def plain_source(name: str) -> str:
    """Return what a file or folder is called as a source: without .jsonl and its compression.

    So a file has one name before and after it was sampled or mined, and a folder that of the file
    that is made of it.
    """
    return plain_name(name).removesuffix(".jsonl")


def _matches(source: str, pattern: str) -> bool:
    names = [source, *(f"{source}.jsonl{packed}" for packed in ("", *COMPRESSIONS))]
    return any(fnmatchcase(name, pattern) for name in names)
