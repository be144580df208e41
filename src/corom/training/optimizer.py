"""AdamW over layers of different pace, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import Any

import torch
from torch import nn

from corom.training.run_settings import OptimizerSettings, Schedule

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:words|positions|types)\.")
_ADDED = re.compile(r"^head\.")


def depth_of(name: str, *, layers: int) -> int:
    """Return how high a parameter stands: 0 the embeddings, 1 to `layers`, `layers` for the rest.

    What is added on top for training alone (names under `head.`) is no layer of the encoder.
    """
    if _ADDED.match(name):
        return layers
    if found := _LAYER.search(name):
        return int(found[1]) + 1
    return 0 if _EMBEDDING.search(name) or name.endswith(("norm.weight", "norm.bias")) else layers


def make_optimizer(
    model: nn.Module, settings: OptimizerSettings, *, layers: int
) -> torch.optim.AdamW:
    """Return AdamW; every group's `pace` is what the step's learning rate is multiplied by.

    Biases and norms (one-dimensional) do not decay; what takes no gradient stays as it is.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        pace = settings.layer_decay ** (layers - depth_of(name, layers=layers))
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups[pace, decay].append(parameter)
    tables: list[dict[str, Any]] = [
        {"params": parameters, "pace": pace, "weight_decay": decay}
        for (pace, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(tables, lr=settings.learning_rate, fused=True)


def rate_share(step: int, *, steps: int, warmup: float, schedule: Schedule) -> float:
    """Return the share of the learning rate at `step` (from 1) of `steps`.

    It grows evenly over the first `warmup` of all steps and falls to 0 just after the last one.
    """
    rising = round(steps * warmup)
    if step <= rising:
        return step / rising
    left = (steps - step + 1) / (steps - max(rising, 1) + 1)
    if schedule == "cosine":
        return (1 - math.cos(math.pi * left)) / 2
    return left if schedule == "linear" else 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["pace"]
