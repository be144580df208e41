from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from corom.errors import ArtifactError
from corom.files import write_manifest
from corom.models.checkpoint import load_checkpoint
from corom.models.convert import add_safetensors, convert
from corom.models.dense import Dense, read_dense
from models.numpy_bert import embed

OLD = "sentence_transformers.models"
NEW = "sentence_transformers.base.modules.dense.Dense"
TEXTS = ["上消化道出血手术大约多久", "头痛吃什么药？", ""]
CONFIG = {
    "in_features": 32,
    "out_features": 48,
    "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}


@pytest.fixture
def theirs(tiny_checkpoint):
    """A folder as sentence-transformers 6 writes it: Transformer, Pooling, Dense, Normalize."""
    folder, rng = tiny_checkpoint(name="theirs").folder, np.random.default_rng(2)
    (folder / "configuration.json").unlink()
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense", "Normalize": "3_N"}
    types = {name: f"{OLD}.{name}" for name in paths} | {"Dense": NEW}
    listed = [
        {"idx": number, "name": str(number), "path": paths[name], "type": types[name]}
        for number, name in enumerate(paths)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    for name, config in (("1_Pooling", {"pooling_mode": "mean"}), ("2_Dense", CONFIG)):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    sizes = {"linear.weight": (48, 32), "linear.bias": (48,)}
    tensors = {name: rng.normal(0, 0.3, size).astype(np.float32) for name, size in sizes.items()}
    save_file(tensors, folder / "2_Dense" / "model.safetensors")
    return folder


def rewrite(folder, **changes):
    path = folder / "2_Dense" / "config.json"
    path.write_text(json.dumps({**CONFIG, **changes}))


def pickle(folder):
    """Turn a file of weights into what old versions wrote."""
    torch = pytest.importorskip("torch")
    tensors = load_file(folder / "model.safetensors")
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tanh", [True, False])
def test_it_is_a_linear_layer_and_tanh(bias, tanh):
    rng = np.random.default_rng(0)
    weight, shift, vectors = (rng.normal(size=size) for size in ((48, 32), 48, (9, 32)))
    tensors = {"linear.weight": weight.astype(np.float32)}
    if bias:
        tensors["linear.bias"] = shift.astype(np.float32)
    expected = vectors @ weight.T + bias * shift
    found = Dense(tensors, tanh).applied(vectors.astype(np.float32))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, np.tanh(expected) if tanh else expected, atol=1e-5)
    assert Dense(tensors, tanh).applied(np.empty((0, 32), np.float32)).shape == (0, 48)


def test_a_vector_becomes_the_same_whatever_stands_beside_it():
    rng = np.random.default_rng(1)
    tensors = {"linear.weight": rng.normal(size=(1792, 1024)).astype(np.float32)}
    dense, vectors = Dense(tensors, tanh=False), rng.normal(size=(33, 1024)).astype(np.float32)
    together = dense.applied(vectors)
    for start, stop in ((0, 1), (32, 33), (5, 12), (1, 33)):
        np.testing.assert_array_equal(dense.applied(vectors[start:stop]), together[start:stop])


def test_what_sentence_transformers_writes_is_read(theirs):
    checkpoint = load_checkpoint(theirs)
    assert checkpoint.encoding.pooling == "avg"
    assert checkpoint.encoding.normalize
    assert (checkpoint.dim, checkpoint.shape.hidden) == (48, 32)
    tensors = load_file(theirs / "2_Dense" / "model.safetensors")
    for name, tensor in checkpoint.dense.tensors.items():
        np.testing.assert_array_equal(tensor, tensors[name])
    assert checkpoint.dense.tanh
    inputs = {"module_input_name": "sentence_embedding", "module_output_name": None}
    identity = {"activation_function": "torch.nn.modules.linear.Identity"}
    rewrite(theirs, **inputs, **identity, use_residual=False)
    assert not read_dense(theirs, hidden=32).tanh


def test_models_without_a_dense_have_none(tiny_checkpoint):
    checkpoint = tiny_checkpoint()
    assert checkpoint.dense is None
    assert checkpoint.dim == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "torch.nn.modules.activation.GELU"}, "'.*GELU' is not supported"),
        ({"activation_function": "mine.Tanh"}, "activation_function 'mine.Tanh' is not supported"),
        ({"module_input_name": "token_embeddings"}, "module_input_name 'token_embeddings' is not"),
        ({"module_output_name": "other"}, "module_output_name 'other' is not supported, only"),
        ({"use_residual": True}, "use_residual True is not supported, only False"),
        ({"in_features": 64}, r"behind an encoder of 32 numbers, asks for linear\.weight"),
        (
            {"out_features": 47},
            r"2_Dense holds .*weight \(48, 32\); .*weight \(47, 32\), linear\.b",
        ),
        ({"bias": False}, r"holds linear\.bias \(48,\), .* asks for linear\.weight \(48, 32\)$"),
    ],
)
def test_what_is_not_read_is_refused_by_name(theirs, change, message):
    rewrite(theirs, **change)
    with pytest.raises(ArtifactError, match=message):
        load_checkpoint(theirs)


def test_missing_and_broken_weights_are_refused(theirs):
    weights = theirs / "2_Dense" / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "linear.bias": np.full(48, np.nan, np.float32)}, weights)
    with pytest.raises(ArtifactError, match="2_Dense holds NaN"):
        load_checkpoint(theirs)
    save_file({"linear.weight": tensors["linear.weight"]}, weights)
    with pytest.raises(ArtifactError, match=r"asks for linear\.weight \(48, 32\), linear\.bias"):
        load_checkpoint(theirs)
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match=r"model\.safetensors is corrupt or cut short"):
        load_checkpoint(theirs)
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"2_Dense.model\.safetensors is missing"):
        load_checkpoint(theirs)
    (theirs / "2_Dense" / "config.json").unlink()
    (theirs / "2_Dense" / "pytorch_model.bin").touch()
    with pytest.raises(ArtifactError, match=r"2_Dense has its weights in pytorch_model\.bin only"):
        load_checkpoint(theirs)


def test_it_is_part_of_the_fingerprint(theirs):
    seen = {load_checkpoint(theirs).fingerprint}
    rewrite(theirs, activation_function="torch.nn.modules.linear.Identity")
    seen.add(load_checkpoint(theirs).fingerprint)
    weights = theirs / "2_Dense" / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "linear.bias": tensors["linear.bias"] + 1}, weights)
    seen.add(load_checkpoint(theirs).fingerprint)
    assert len(seen) == 3


def test_a_flipped_bit_in_it_is_refused(theirs):
    write_manifest(theirs)
    weights = theirs / "2_Dense" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"2_Dense.model\.safetensors is corrupt"):
        load_checkpoint(theirs)


def test_it_is_converted(theirs, tmp_path):
    before = load_checkpoint(theirs)
    made = convert(theirs, tmp_path / "out")
    np.testing.assert_array_equal(embed(made, TEXTS), embed(before, TEXTS))
    half = convert(theirs, tmp_path / "half", dtype="float16")
    stored = load_file(half.folder / "2_Dense" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {np.dtype(np.float16)}
    np.testing.assert_allclose(embed(half, TEXTS), embed(before, TEXTS), atol=5e-3)


@pytest.mark.torch
@pytest.mark.parametrize("body", [True, False])
def test_pickles_are_converted(theirs, tmp_path, body):
    expected = embed(load_checkpoint(theirs), TEXTS)
    pickle(theirs / "2_Dense")
    if body:
        pickle(theirs)
    np.testing.assert_array_equal(embed(convert(theirs, tmp_path / "out"), TEXTS), expected)
    np.testing.assert_array_equal(embed(add_safetensors(theirs), TEXTS), expected)
    assert (theirs / "2_Dense" / "model.safetensors").is_file()
    with pytest.raises(ArtifactError, match="has safetensors already"):
        add_safetensors(theirs)


@pytest.mark.torch
def test_a_pickle_that_is_none_is_refused(theirs, tmp_path):
    pickle(theirs / "2_Dense")
    (theirs / "2_Dense" / "pytorch_model.bin").write_bytes(b"no pickle")
    with pytest.raises(ArtifactError, match=r"2_Dense.pytorch_model\.bin is corrupt"):
        convert(theirs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_modelscopes_file_beside_it_is_read(theirs):
    (theirs / "configuration.json").write_text('{"preprocessor": {"boq": "问："}}')
    checkpoint = load_checkpoint(theirs)
    assert checkpoint.encoding.query_prefix == "问："
    assert checkpoint.dim == 48


def test_a_copy_has_the_same_fingerprint(tiny_dense, tmp_path):
    checkpoint = tiny_dense()
    copy = shutil.copytree(checkpoint.folder, tmp_path / "copy")
    assert load_checkpoint(copy).fingerprint == checkpoint.fingerprint
