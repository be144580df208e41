"""Exact nearest passages of many queries: on the GPU when there is one, else with numpy."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from corom.ranking import TopK, top_k
from corom.vectors import Vectors

_SCORES_AT_ONCE = 1 << 26


def cuda_device() -> str | None:
    """Return "cuda" where torch is installed and sees a device (importing torch takes seconds)."""
    if find_spec("torch") is None:
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


class Nearest:
    """The passages with the greatest dot products, best first.

    On a device, which of the passages tied with the last place is kept is the device's choice.
    """

    def __init__(self, passages: Vectors, *, device: str | None) -> None:
        self.passages, self.device = passages, device
        self._there: Any = None
        if device is not None:
            import torch

            self._there = torch.from_numpy(passages).to(device)

    def search(self, queries: Vectors, *, k: int) -> TopK:
        """Return the best `min(k, passages)` of each query."""
        at_once = max(1, _SCORES_AT_ONCE // max(1, len(self.passages)))
        parts = [
            self._block(queries[start : start + at_once], k=k)
            for start in range(0, len(queries), at_once)
        ]
        return TopK(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _block(self, queries: Vectors, *, k: int) -> TopK:
        if self.device is None:
            return top_k(queries @ self.passages.T, k)
        import torch

        scores = torch.from_numpy(queries).to(self.device) @ self._there.T
        best = torch.topk(scores, min(k, len(self.passages)), dim=1)
        return TopK(best.indices.cpu().numpy(), best.values.cpu().numpy())
