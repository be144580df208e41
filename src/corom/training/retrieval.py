"""Exact nearest passages of many queries: on the GPU when there is one, else by corom's index."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from corom.index import VectorIndex
from corom.ranking import TopK
from corom.records import Passage
from corom.vectors import Vectors

_SCORES_AT_ONCE = 1 << 28


def cuda_device() -> str | None:
    """Return "cuda" where torch is installed and sees a device (importing torch takes seconds)."""
    if find_spec("torch") is None:
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


class Nearest:
    """The passages with the greatest dot products with a query, best first.

    On a device, which of the passages tied with the last place is kept is the device's choice.
    """

    def __init__(self, passages: Vectors, *, device: str | None) -> None:
        self.device, self._there, self._index = device, None, None
        if device is None:
            self._index = VectorIndex.new(passages.shape[1])
            self._index.add(
                [Passage(str(n), "") for n in range(len(passages))], passages, copy=False
            )
        else:
            import torch

            self._there = torch.from_numpy(passages).to(device)

    def search(self, queries: Vectors, *, k: int) -> TopK:
        """Return the best `min(k, passages)` of each query, as places in the passages."""
        if self._index is not None:
            return self._index.top_k(queries, k)
        return self._on_device(queries, self._there, k=k)

    def _on_device(self, queries: Vectors, passages: Any, *, k: int) -> TopK:  # noqa: ANN401
        import torch

        at_once = max(1, _SCORES_AT_ONCE // max(1, len(passages)))
        parts = [
            torch.topk(part.to(self.device) @ passages.T, min(k, len(passages)), dim=1)
            for part in torch.from_numpy(queries).split(at_once)
        ]
        return TopK(
            np.concatenate([part.indices.cpu().numpy() for part in parts]),
            np.concatenate([part.values.cpu().numpy() for part in parts]),
        )
