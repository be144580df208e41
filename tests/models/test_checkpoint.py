from __future__ import annotations

from models.numpy_bert import embed


def test_loads(tiny_checkpoint):
    c = tiny_checkpoint()
    assert embed(c, ["头痛吃什么药？", "糖尿病CT检查"]).shape == (2, 32)
