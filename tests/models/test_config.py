from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from corom.errors import InputError
from corom.models.config import Encoding, Shape

SHAPE = Shape(layers=2, hidden=8, heads=2, intermediate=16, vocabulary=10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "layers is 0; it must be a whole number from 1"),
        ({"layers": 1001}, "layers is 1001; it must be a whole number from 1 to 1000"),
        ({"layers": 3_000_000}, "layers is 3000000; it must be"),
        ({"hidden": 8.0}, "hidden is 8.0; it must be a whole number from 1"),
        ({"vocabulary": True}, "vocabulary is True; it must be"),
        ({"positions": "512"}, "positions is '512'; it must be"),
        ({"heads": 3}, "hidden 8 cannot be divided among 3 heads"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps must lie in"),
        ({"layer_norm_eps": 1}, "layer_norm_eps must lie in"),
        ({"activation": "silu"}, "activation 'silu' is none of gelu, gelu_tanh, relu"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SHAPE, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "max"}, "pooling 'max' is none of cls, avg, avg_top2, avg_first_last"),
        ({"normalize": 1}, "normalize must be true or false, not 1"),
        ({"max_length": 1}, "max_length is 1; it must be a whole number from 2 to 512"),
        ({"max_length": 513}, "max_length is 513; it must be"),
        ({"max_length": 128.0}, "from 2 to 512"),
        ({"query_prefix": None}, "query_prefix must be text, not NoneType"),
        ({"passage_suffix": 7}, "passage_suffix must be text, not int"),
    ],
)
def test_impossible_encodings_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Encoding(**change)


def test_the_most_layers_pass():
    assert len(replace(SHAPE, layers=1000).weight_shapes()) == 5 + 1000 * 16


def test_the_limits_of_max_length_pass():
    assert Encoding(max_length=2).max_length == 2
    assert Encoding(max_length=512).max_length == 512


def test_the_defaults_are_modelscopes():
    assert Encoding() == Encoding(pooling="cls", normalize=False, max_length=128)


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        SHAPE.layers = 3
    with pytest.raises(FrozenInstanceError):
        Encoding().pooling = "avg"


def test_weight_shapes_list_every_weight_of_a_bert():
    shapes = SHAPE.weight_shapes()
    assert len(shapes) == 5 + 2 * 16
    assert shapes["embeddings.word_embeddings.weight"] == (10, 8)
    assert shapes["embeddings.position_embeddings.weight"] == (512, 8)
    assert shapes["encoder.layer.1.intermediate.dense.weight"] == (16, 8)
    assert shapes["encoder.layer.1.intermediate.dense.bias"] == (16,)
    assert shapes["encoder.layer.0.output.dense.weight"] == (8, 16)
    assert shapes["encoder.layer.0.output.dense.bias"] == (8,)
    assert shapes["encoder.layer.0.attention.output.LayerNorm.bias"] == (8,)


def test_encodings_in_words():
    assert Encoding().describe() == "cls, raw length, at most 128 tokens"
    whole = Encoding(pooling="avg", normalize=True, query_prefix="问：", passage_suffix="[答]")
    assert whole.describe() == (
        "avg, unit length, at most 128 tokens, '问：' before queries, '[答]' behind passages"
    )
