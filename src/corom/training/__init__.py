"""Training: pre-train, train, mine, both stages in one, average. See docs/training.md.

Each verb is a function of frozen settings, loaded with its heavy libraries when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from corom.extras import need

if TYPE_CHECKING:
    from corom.training.averaging import average
    from corom.training.chain import two_stage
    from corom.training.finetune import train
    from corom.training.holdout import hold_out
    from corom.training.mining import mine
    from corom.training.pretraining import pretrain
    from corom.training.reranking import train_reranker
    from corom.training.sampling import sample

__all__ = [
    "average",
    "hold_out",
    "mine",
    "pretrain",
    "sample",
    "train",
    "train_reranker",
    "two_stage",
]

_HOMES = {
    "average": "averaging",
    "hold_out": "holdout",
    "mine": "mining",
    "pretrain": "pretraining",
    "sample": "sampling",
    "train": "finetune",
    "train_reranker": "reranking",
    "two_stage": "chain",
}
_LIGHT = ("average", "hold_out", "mine", "sample")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'corom.training' has no attribute {name!r}")
    for module in () if name in _LIGHT else ("torch", "accelerate"):
        need(module, extra="train")
    return getattr(import_module(f"corom.training.{_HOMES[name]}"), name)
