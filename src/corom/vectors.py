"""Pure functions on `(n, dim) float32` arrays of vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corom.checks import require_whole

Vectors = NDArray[np.float32]


def normalized(vectors: Vectors) -> Vectors:
    """Return the vectors at length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def truncated(vectors: Vectors, dim: int) -> Vectors:
    """Return the first `dim` numbers of each vector (Matryoshka); raise InputError if it has fewer.

    What was of length 1 no longer is: normalise after truncating.
    """
    require_whole("truncate_dim", dim, high=vectors.shape[1])
    return np.ascontiguousarray(vectors[:, :dim])


def cosines(left: Vectors, right: Vectors) -> NDArray[np.float32]:
    """Return the cosine of each row of `left` with the same row of `right`, shape (n,)."""
    found: NDArray[np.float32] = np.einsum("nd,nd->n", normalized(left), normalized(right))
    return found
