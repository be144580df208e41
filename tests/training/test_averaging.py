from __future__ import annotations

import numpy as np
import pytest

from corom.errors import ArtifactError, InputError
from corom.models.checkpoint import load_checkpoint
from corom.models.config import Shape
from corom.models.head import Head, read_head
from corom.models.portable import Portable, write_portable
from corom.training.averaging import average, mix


def test_mix_is_the_weighted_mean():
    one, other = ({"a": np.full((2, 3), value, np.float32)} for value in (1.0, 3.0))
    assert mix([one, other], [1, 1])["a"].tolist() == [[2.0] * 3] * 2
    mixed = mix([one, other], [3, 1])
    assert mixed["a"].tolist() == [[1.5] * 3] * 2
    assert mixed["a"].dtype == np.float32
    np.testing.assert_array_equal(mix([one], [0.3])["a"], one["a"])


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ([], []),
        ([{"a": np.zeros(2)}], [1, 1]),
        ([{"a": np.zeros(2)}, {"a": np.zeros(3)}], [1, 1]),
        ([{"a": np.zeros(2)}, {"b": np.zeros(2)}], [1, 1]),
        ([{"a": np.zeros(2)}], [0]),
        ([{"a": np.zeros(2)}, {"a": np.zeros(2)}], [2, -1]),
        ([{"a": np.zeros(2)}, {"a": np.zeros(2)}], [1, np.nan]),
        ([{"a": np.zeros(2)}, {"a": np.zeros(2)}], [1, np.inf]),
    ],
)
def test_what_cannot_be_mixed_is_refused(weights, shares):
    with pytest.raises(InputError):
        mix(weights, shares)


def test_models_are_averaged_into_a_model(tiny_checkpoint, tmp_path):
    models = [tiny_checkpoint(seed=seed, name=f"m{seed}") for seed in (1, 2)]
    average([model.folder for model in models], tmp_path / "soup", shares=[0.25, 0.75])
    mixed = load_checkpoint(tmp_path / "soup")
    assert mixed.encoding == models[0].encoding
    one, other = (model.load_weights() for model in models)
    for name, array in mixed.load_weights().items():
        np.testing.assert_allclose(array, 0.25 * one[name] + 0.75 * other[name], atol=1e-6)
    with pytest.raises(ArtifactError, match="exists already"):
        average([models[0].folder], tmp_path / "soup")


def test_models_of_other_shapes_are_refused(tiny_checkpoint, tiny_shape, tmp_path):
    other = Shape(layers=1, hidden=32, heads=4, intermediate=64, vocabulary=tiny_shape.vocabulary)
    folders = [tiny_checkpoint().folder, tiny_checkpoint(shape=other, name="other").folder]
    with pytest.raises(InputError, match="other has another shape"):
        average(folders, tmp_path / "soup")
    with pytest.raises(InputError, match="no model"):
        average([], tmp_path / "soup")


def test_rerankers_are_averaged_with_their_heads(tiny_reranker, tmp_path):
    first = load_checkpoint(tiny_reranker)
    head, weights = read_head(first), first.load_weights()
    other = Portable(
        first.shape,
        first.encoding,
        {name: array + 1 for name, array in weights.items()},
        first.tokenizer_json,
        Head(*(part + 1 for part in head)),
    )
    write_portable(tmp_path / "other", other)
    average([tiny_reranker, tmp_path / "other"], tmp_path / "soup", shares=[0.75, 0.25])
    mixed = load_checkpoint(tmp_path / "soup")
    assert mixed.is_classifier
    assert mixed.encoding.max_length == 64
    for one, found in zip(head, read_head(mixed), strict=True):
        np.testing.assert_allclose(found, one + 0.25, atol=1e-6)
    for name, array in mixed.load_weights().items():
        np.testing.assert_allclose(array, weights[name] + 0.25, atol=1e-6)


def test_models_are_averaged_with_their_dense(tiny_dense, tmp_path):
    models = [tiny_dense(seed=seed, name=f"d{seed}") for seed in (1, 2)]
    average([model.folder for model in models], tmp_path / "soup", shares=[0.25, 0.75])
    mixed = load_checkpoint(tmp_path / "soup").dense
    assert mixed.tanh
    for name, found in mixed.tensors.items():
        one, other = (model.dense.tensors[name] for model in models)
        np.testing.assert_allclose(found, 0.25 * one + 0.75 * other, atol=1e-6)


@pytest.mark.parametrize("other", [{"dim": 40}, {"bias": False}, {"tanh": False}, None])
def test_models_with_another_dense_are_not_averaged(tiny_dense, tmp_path, other):
    first = tiny_dense().folder
    second = tmp_path / "dense-body" if other is None else tiny_dense(name="d2", **other).folder
    for models in ([first, second], [second, first]):
        with pytest.raises(InputError, match="has another Dense than"):
            average(models, tmp_path / "soup")
    assert not (tmp_path / "soup").exists()


def test_an_encoder_and_a_reranker_are_not_averaged(tiny_reranker, tmp_path):
    body = tmp_path / "tiny-body"
    with pytest.raises(InputError, match="tiny-body is an encoder and reranker a reranker"):
        average([tiny_reranker, body], tmp_path / "soup")
    with pytest.raises(InputError, match="reranker is a reranker and tiny-body an encoder"):
        average([body, tiny_reranker], tmp_path / "soup")
    assert not (tmp_path / "soup").exists()
