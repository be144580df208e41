"""A Dense behind every engine, against plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from corom.encoder import Encoder
from corom.engines.compression import bundled_texts, convert_to_int8
from corom.engines.native_engine import problem
from corom.models.checkpoint import load_checkpoint
from corom.vectors import cosines, normalized
from models.numpy_bert import embed

TEXTS = ["头痛发热吃什么药", "", "ct mri abc 123", "高血压" * 200, "头痛发热吃什么药"]


@pytest.fixture(params=["openvino", "torch"])
def engine(request):
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tanh", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "avg"])
def test_vectors_are_what_numpy_says(tiny_dense, engine, bias, tanh, pooling):
    checkpoint = tiny_dense(bias=bias, tanh=tanh, pooling=pooling, normalize=True)
    encoder = Encoder(checkpoint, engine=engine, precision="fp32")
    assert (encoder.dim, encoder.engine, encoder.precision) == (48, engine, "fp32")
    found = encoder.encode_queries(TEXTS)
    np.testing.assert_allclose(found, embed(checkpoint, TEXTS), atol=1e-5)
    assert encoder.encode_passages([]).shape == (0, 48)


def test_it_comes_before_truncation_and_normalisation(tiny_dense, engine):
    checkpoint = tiny_dense(dim=64)
    encoder = Encoder(checkpoint, engine=engine, precision="fp32")
    found = encoder.encode_passages(TEXTS, truncate_dim=40, normalize=True)
    expected = normalized(embed(checkpoint, TEXTS)[:, :40])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("engine", ["openvino", "native"])
def test_int8_is_projected_and_measured_behind_the_projection(
    tiny_dense, tiny_shape, tmp_path, engine
):
    if engine == "native" and (reason := problem()):
        pytest.skip(reason)
    plain = tiny_dense(normalize=True, shape=replace(tiny_shape, heads=1))  # as the kernels want it
    texts = bundled_texts()[0][:80]
    made = convert_to_int8(plain.folder, tmp_path / "int8", texts=texts)
    assert made.fingerprint == plain.fingerprint
    encoder = Encoder(made, engine=engine, precision="int8")
    assert (encoder.engine, encoder.dim) == (engine, 48)
    found = cosines(encoder.encode_passages(texts[1::2]), embed(plain, texts[1::2], query=False))
    assert found.min() > 0.98
    (made.folder / "model.safetensors").unlink()
    (made.folder / "manifest.json").unlink()
    assert load_checkpoint(made.folder).fingerprint == plain.fingerprint
    if engine == "openvino":
        assert found.mean() == pytest.approx(made.read_int8().fidelity.mean_cosine, abs=1e-5)
