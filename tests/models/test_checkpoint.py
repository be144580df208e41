from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from corom.errors import ArtifactError
from corom.files import sha256, write_manifest
from corom.models.checkpoint import load_checkpoint, weights_identity
from corom.models.config import Encoding
from corom.models.portable import Portable, write_portable
from models.numpy_bert import embed

TEXTS = ["上消化道出血手术大约多久", "头痛吃什么药？", "头痛吃什么药？", "CT/MRI 1a2b", ""]


def flip_a_bit(path, *, at=-5):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_checkpoint_tells_what_the_folder_holds(tiny_checkpoint, tiny_shape):
    checkpoint = tiny_checkpoint(name="小模型", pooling="avg", query_prefix="问")
    assert checkpoint.name == "小模型"
    assert checkpoint.shape == tiny_shape
    assert checkpoint.encoding == Encoding(pooling="avg", query_prefix="问")
    assert checkpoint.int8_file is None
    assert set(checkpoint.load_weights()) == set(tiny_shape.weight_shapes())
    assert load_checkpoint(checkpoint.folder, name="other").name == "other"


def test_vectors_follow_the_encoding(tiny_checkpoint):
    checkpoint = tiny_checkpoint()
    plain = embed(checkpoint, TEXTS)
    assert plain.shape == (5, 32)
    np.testing.assert_array_equal(plain[1], plain[2])
    unit = embed(replace(checkpoint, encoding=Encoding(normalize=True)), TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    short = replace(checkpoint, encoding=Encoding(max_length=4))
    np.testing.assert_array_equal(embed(short, ["头痛吃"]), embed(short, ["头痛什么"]))


def test_reading_the_settings_reads_no_weights(tiny_checkpoint, monkeypatch):
    folder = tiny_checkpoint().folder
    write_manifest(folder)
    read = []
    opened = Path.open

    def spy(self, *args, **options):
        read.append(self.name)
        return opened(self, *args, **options)

    monkeypatch.setattr(Path, "open", spy)
    load_checkpoint(folder)
    assert "config.json" in read
    assert "model.safetensors" not in read


def test_the_fingerprint_is_that_of_what_makes_vectors(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    folder = checkpoint.folder
    assert len(checkpoint.fingerprint) == 16
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert load_checkpoint(moved).fingerprint == checkpoint.fingerprint
    write_manifest(moved)
    assert load_checkpoint(moved).fingerprint == checkpoint.fingerprint
    (moved / "manifest.json").unlink()
    seen = {checkpoint.fingerprint, tiny_checkpoint(name="seed", seed=8).fingerprint}
    seen.add(tiny_checkpoint(name="pooling", pooling="avg").fingerprint)
    config = (moved / "config.json").read_text()
    (moved / "config.json").write_text(config.replace('"gelu"', '"relu"'))
    seen.add(load_checkpoint(moved).fingerprint)
    (moved / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    seen.add(load_checkpoint(moved).fingerprint)
    assert len(seen) == 5


@pytest.mark.parametrize("name", ["config.json", "configuration.json", "vocab.txt"])
def test_a_flipped_bit_is_refused_by_file(tiny_checkpoint, name):
    folder = tiny_checkpoint().folder
    write_manifest(folder)
    flip_a_bit(folder / name)
    with pytest.raises(ArtifactError, match=rf"{name} is corrupt"):
        load_checkpoint(folder)


def test_a_flipped_bit_in_the_weights_is_refused_when_they_are_read(tiny_checkpoint):
    folder = tiny_checkpoint().folder
    write_manifest(folder)
    flip_a_bit(folder / "model.safetensors")
    checkpoint = load_checkpoint(folder)
    with pytest.raises(ArtifactError, match=r"model\.safetensors is corrupt"):
        checkpoint.load_weights()


def test_missing_files_and_other_sizes_are_refused_by_file(tiny_checkpoint):
    folder = tiny_checkpoint().folder
    write_manifest(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match=r"model\.safetensors has .* bytes, its manifest says"):
        load_checkpoint(folder)
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"model\.safetensors is missing"):
        load_checkpoint(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": []}', '{"files": {"a": {}}}'])
def test_a_manifest_that_is_none_is_refused(tiny_checkpoint, text):
    folder = tiny_checkpoint().folder
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        load_checkpoint(folder)


def test_without_a_manifest_broken_weights_are_refused_too(tiny_checkpoint):
    folder = tiny_checkpoint().folder
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(ArtifactError, match=r"model\.safetensors is corrupt or cut short"):
        load_checkpoint(folder).load_weights()
    path.write_bytes(whole)
    weights = load_file(path)
    name = "encoder.layer.1.output.dense.bias"
    weights[name][3] = np.nan
    save_file(weights, path)
    with pytest.raises(ArtifactError, match=rf"{name} holds NaN"):
        load_checkpoint(folder).load_weights()
    weights[name] = weights[name][:5]
    save_file(weights, path)
    with pytest.raises(ArtifactError, match=rf"{name} has shape \(5,\), .* \(32,\)"):
        load_checkpoint(folder).load_weights()


def test_pickled_weights_alone_are_refused_with_the_way_out(tiny_checkpoint):
    folder = tiny_checkpoint().folder
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin only.*corom convert .* NEW_FOLD"):
        load_checkpoint(folder)


def test_an_int8_form_alone_has_the_fingerprint_of_its_source(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    folder = shutil.copytree(checkpoint.folder, tmp_path / "int8")
    identity = sha256(folder / "model.safetensors")
    assert weights_identity(folder) == identity
    metadata = {"source_sha256": identity}
    int8 = folder / "model.int8.safetensors"
    save_file({"x": np.zeros(1, np.int8)}, int8, metadata=metadata)
    assert load_checkpoint(folder).int8_file == int8
    (folder / "model.safetensors").unlink()
    assert load_checkpoint(folder).fingerprint == checkpoint.fingerprint
    save_file({"x": np.zeros(1, np.int8)}, int8)
    assert weights_identity(folder) == sha256(int8)


def test_shards_have_one_identity(tiny_checkpoint):
    checkpoint = tiny_checkpoint()
    folder, weights = checkpoint.folder, checkpoint.load_weights()
    names = sorted(weights)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    sharded = load_checkpoint(folder)
    assert sharded.fingerprint != checkpoint.fingerprint
    for name, weight in sharded.load_weights().items():
        np.testing.assert_array_equal(weight, weights[name])
    write_manifest(folder)
    assert load_checkpoint(folder).fingerprint == sharded.fingerprint
    flip_a_bit(folder / "model-2.safetensors")
    with pytest.raises(ArtifactError, match=r"model-2\.safetensors is corrupt"):
        sharded.load_weights()


def test_what_is_no_model_folder_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="absent is not a model folder"):
        load_checkpoint(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="file is not a model folder"):
        load_checkpoint(tmp_path / "file")
    with pytest.raises(ArtifactError, match=r"config\.json is missing"):
        load_checkpoint(tmp_path)


def test_a_folder_without_weights_says_what_is_missing(tiny_checkpoint):
    folder = tiny_checkpoint().folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"holds no model\.safetensors, .*int8"):
        load_checkpoint(folder)


JSON_FILES = (
    *("config.json", "configuration.json", "modules.json", "1_Pooling/config.json"),
    *("sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer_config.json"),
    "tokenizer.json",
)


def places(value, at=()):
    """Every place in a JSON value, but only the first two of a list or a vocabulary."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value)
    few = isinstance(value, list) or "vocab" in at
    for key, part in itertools.islice(items, 2 if few else None):
        if isinstance(part, dict | list):
            yield from places(part, (*at, key))
        else:
            yield (*at, key)


@pytest.mark.parametrize("name", JSON_FILES)
def test_a_wrong_value_anywhere_is_refused_as_such_or_harmless(tiny_checkpoint, tmp_path, name):
    source, folder = tiny_checkpoint(), tmp_path / "out"
    weights, tokenizer_json = source.load_weights(), source.tokenizer_json
    write_portable(folder, Portable(source.shape, source.encoding, weights, tokenizer_json))
    (folder / "manifest.json").unlink()
    original = (folder / name).read_text(encoding="utf-8")
    refused = 0
    for place in places(json.loads(original)):
        for wrong in (None, True, -1, 1.5, "x", [], [1], {"a": 1}):
            changed = part = {"": json.loads(original)}
            *way, last = ("", *place)
            for key in way:
                part = part[key]
            part[last] = wrong
            (folder / name).write_text(json.dumps(changed[""]))
            try:
                load_checkpoint(folder)
            except ArtifactError:
                refused += 1
    assert refused
