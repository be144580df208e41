from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save, save_file

from corom.errors import ArtifactError
from corom.models.config import Shape
from corom.models.weights import (
    canonical,
    read_metadata,
    read_safetensors,
    weight_files,
    writing,
)

SHAPE = Shape(layers=1, hidden=4, heads=2, intermediate=8, vocabulary=6, positions=16)
LAYER = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def weights():
    rng = np.random.default_rng(1)
    return {
        name: rng.normal(size=dimensions).astype(np.float32)
        for name, dimensions in SHAPE.weight_shapes().items()
    }


def checked(weights, path="folder"):
    return canonical(weights, shape=SHAPE, source=path)


def test_prefix_old_names_pooler_and_head_are_seen_through(weights, tmp_path):
    theirs = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): weight
        for name, weight in weights.items()
    }
    theirs["bert.pooler.dense.weight"] = np.zeros((4, 4), np.float32)
    theirs["cls.predictions.bias"] = np.zeros(6, np.float32)
    theirs["bert.embeddings.position_ids"] = np.arange(16)[None]
    path = tmp_path / "model.safetensors"
    save_file({n: w for n, w in theirs.items() if w.dtype == np.float32}, path)
    for source in (theirs, read_safetensors([path])):
        found = checked(source)
        assert list(found) == list(SHAPE.weight_shapes())
        for name, weight in found.items():
            assert weight.dtype == np.float32
            assert weight.flags.c_contiguous
            np.testing.assert_array_equal(weight, weights[name])


def test_position_ids_in_the_file_are_passed_over(weights, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({**weights, "bert.embeddings.position_ids": np.arange(16)[None]}, path)
    assert set(checked(read_safetensors([path]))) == set(weights)


def test_half_precisions_are_read_as_float32(weights, tmp_path):
    path = tmp_path / "a.safetensors"
    half = {name: weight.astype(np.float16) for name, weight in weights.items()}
    save_file(half, path)
    for name, weight in checked(read_safetensors([path])).items():
        np.testing.assert_array_equal(weight, half[name].astype(np.float32))


def test_bfloat16_is_read_bit_by_bit(tmp_path):
    values = np.array([1.0, -2.5, 3.140625, 0.0], np.float32)
    raw = (values.view(np.uint32) >> 16).astype(np.uint16)
    header = {"embeddings.x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}
    path = tmp_path / "a.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw.tobytes())
    read = read_safetensors([path])["embeddings.x"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.reshape(2, 2))


def test_the_arrays_outlive_the_file(weights, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(weights, path)
    read = read_safetensors([path])
    path.write_bytes(b"")
    np.testing.assert_array_equal(read[LAYER], weights[LAYER])
    read[LAYER][0] = 0  # and are the caller's to change


def test_other_types_are_refused_by_name(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"embeddings.x": np.zeros(3, np.int8)}, path)
    with pytest.raises(ArtifactError, match=r"a\.safetensors: embeddings\.x has type I8"):
        read_safetensors([path])


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_file_cut_short_is_refused_by_name(weights, tmp_path, keep):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save(weights)[:keep])
    with pytest.raises(ArtifactError, match=r"a\.safetensors is corrupt or cut short"):
        read_safetensors([path])


def test_a_header_of_lies_is_refused(weights, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save(weights).replace(b'"shape":[6,4]', b'"shape":[9,4]'))
    with pytest.raises(ArtifactError, match=r"a\.safetensors is corrupt"):
        read_safetensors([path])
    with pytest.raises(ArtifactError, match=r"b\.safetensors is missing"):
        read_metadata(tmp_path / "b.safetensors")


def test_what_the_disk_says_to_a_writer_is_an_error_of_the_system(weights, tmp_path):
    with pytest.raises(FileNotFoundError) as caught, writing(tmp_path / "no" / "a") as path:
        save_file(weights, path)
    assert caught.value.filename == str(tmp_path / "no" / "a")
    with pytest.raises(SafetensorError, match="contiguous"), writing(tmp_path / "a"):
        raise SafetensorError("is not contiguous")


def test_metadata_is_read(tmp_path):
    save_file({"x": np.zeros(1)}, tmp_path / "a", metadata={"format": "pt"})
    save_file({"x": np.zeros(1)}, tmp_path / "b")
    assert read_metadata(tmp_path / "a") == {"format": "pt"}
    assert read_metadata(tmp_path / "b") == {}


def test_missing_misshapen_and_surplus_tensors_are_named(weights):
    lacking = {name: weight for name, weight in weights.items() if name != LAYER}
    with pytest.raises(ArtifactError, match=rf"folder lacks {LAYER}, of shape \(4, 4\)"):
        checked(lacking)
    with pytest.raises(ArtifactError, match=rf"{LAYER} has shape \(4, 3\), .* for \(4, 4\)"):
        checked({**weights, LAYER: weights[LAYER][:, :3]})
    surplus = LAYER.replace("layer.0", "layer.1")
    with pytest.raises(ArtifactError, match=rf"{surplus} has no place .* of 1 layers"):
        checked({**weights, surplus: weights[LAYER]})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(weights, value):
    weights[LAYER][1, 2] = value
    with pytest.raises(ArtifactError, match=rf"{LAYER} holds NaN or infinite values"):
        checked(weights)


def test_opposite_infinities_do_not_cancel_out(weights):
    weights[LAYER][0, :2] = np.inf, -np.inf
    with pytest.raises(ArtifactError, match="NaN or infinite"):
        checked(weights)


def test_shards_are_found_by_their_index(weights, tmp_path):
    names = sorted(weights)
    files = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, part in files.items():
        save_file({name: weights[name] for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in files.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    paths = weight_files(tmp_path)
    assert [path.name for path in paths] == list(files)
    assert set(checked(read_safetensors(paths))) == set(names)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"model-2\.safetensors is missing; .*index\.json"):
        weight_files(tmp_path)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors"])
def test_an_index_points_nowhere_but_beside_itself(tmp_path, name):
    index = {"weight_map": {LAYER: name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match="must map weights to files beside it"):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    "weight_map",
    [
        None,
        [],
        [["a", "b"]],
        ["model"],
        "model",
        7,
        True,
        {},
        {LAYER: 7},
        {LAYER: None},
        {LAYER: ["a"]},
    ],
)
def test_an_index_of_another_form_is_refused_by_name(tmp_path, weight_map):
    for name in ("7", "None", "b"):  # what such an index might be taken for
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ArtifactError, match=r"index\.json: weight_map must map weights to files"):
        weight_files(tmp_path)


def test_no_weights_are_no_files(tmp_path):
    assert weight_files(tmp_path) == []
