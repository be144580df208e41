from __future__ import annotations

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from corom.engines.torch_bert import TorchBert  # noqa: E402
from corom.models.config import Shape  # noqa: E402
from corom.training.condenser import Condenser  # noqa: E402
from corom.training.optimizer import depth_of, make_optimizer, rate_share, set_rate  # noqa: E402
from corom.training.settings import OptimizerSettings  # noqa: E402

pytestmark = pytest.mark.torch
SHAPE = Shape(vocabulary=30, hidden=16, layers=3, heads=2, intermediate=32, positions=20)


def test_depth_grows_from_the_embeddings_to_the_top():
    depths = {
        "bert.words.weight": 0,
        "bert.norm.bias": 0,
        "bert.layers.0.qkv.weight": 1,
        "bert.layers.2.outer_norm.weight": 3,
        "head.layers.0.qkv.weight": 3,
        "head.transform.weight": 3,
        "head.norm.weight": 3,
    }
    assert {name: depth_of(name, layers=3) for name in depths} == depths


def test_every_parameter_gets_its_pace_and_only_matrices_decay():
    model = Condenser(TorchBert(SHAPE), head_layers=1, early_layer=1)
    settings = OptimizerSettings(layer_decay=0.5, weight_decay=0.1)
    optimizer = make_optimizer(model, settings, layers=3)
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        group = group_of[id(parameter)]
        assert group["pace"] == 0.5 ** (3 - depth_of(name, layers=3))
        assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
    set_rate(optimizer, 1.0)
    assert {group["lr"] for group in optimizer.param_groups} == {1.0, 0.5, 0.25, 0.125}


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_rate_rises_and_falls(schedule):
    shares = [rate_share(step, steps=100, warmup=0.1, schedule=schedule) for step in range(1, 101)]
    assert shares[:10] == [pytest.approx(step / 10) for step in range(1, 11)]
    assert all(0 < share <= 1 for share in shares)
    falling = [early - late for early, late in pairwise(shares[9:])]
    if schedule == "constant":
        assert set(shares[10:]) == {1.0}
    else:
        assert min(falling) >= 0
        assert shares[-1] < 0.02
    if schedule == "linear":
        assert max(falling) == pytest.approx(min(falling))


def test_without_warm_up_the_first_step_is_the_highest():
    assert rate_share(1, steps=10, warmup=0.0, schedule="linear") == 1.0
    assert rate_share(1, steps=1, warmup=0.1, schedule="linear") == 1.0
