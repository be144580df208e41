from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from corom.errors import ArtifactError, InputError, MissingExtraError
from corom.models import convert as module
from corom.models.config import Encoding
from corom.models.convert import add_safetensors, convert, convert_bin
from corom.models.layouts import Stated
from models.numpy_bert import embed

TEXTS = ["上消化道出血手术大约多久", "头痛吃什么药？"]


@pytest.fixture
def pickled(tiny_checkpoint):
    """A folder in CoROM's published layout: prefix, pooler, pytorch_model.bin, vocab.txt alone."""
    torch = pytest.importorskip("torch")
    checkpoint = tiny_checkpoint(pooling="avg", max_length=64)
    weights = checkpoint.load_weights()
    state = {f"bert.{name}": torch.from_numpy(weight) for name, weight in weights.items()}
    state["bert.pooler.dense.weight"] = torch.zeros(32, 32)
    state["bert.embeddings.position_ids"] = torch.arange(512)[None]
    truth = embed(checkpoint, TEXTS)
    torch.save(state, checkpoint.folder / "pytorch_model.bin")
    (checkpoint.folder / "model.safetensors").unlink()
    return SimpleNamespace(folder=checkpoint.folder, weights=weights, truth=truth, state=state)


@pytest.mark.torch
def test_a_pickled_model_becomes_a_portable_one(pickled, tmp_path):
    checkpoint = convert(pickled.folder, tmp_path / "out")
    assert checkpoint.folder == tmp_path / "out"
    assert checkpoint.encoding.max_length == 64
    assert not list(checkpoint.folder.glob("*.bin"))
    np.testing.assert_array_equal(embed(checkpoint, TEXTS), pickled.truth)


@pytest.mark.torch
def test_half_precision_pickles_are_read(pickled):
    import torch

    state = {name: part.to(torch.bfloat16) for name, part in pickled.state.items()}
    torch.save(state, pickled.folder / "pytorch_model.bin")
    for name, weight in convert_bin(pickled.folder).items():
        assert weight.dtype == np.float32
        np.testing.assert_allclose(weight, pickled.weights[name], rtol=0.01)


@pytest.mark.torch
def test_code_in_a_pickle_is_refused_and_not_run(pickled, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    (pickled.folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Bomb()}, protocol=2))
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin is corrupt, or holds more than"):
        convert(pickled.folder, tmp_path / "out")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
@pytest.mark.parametrize("damage", ["cut", "empty", "nested", "missing", "absent"])
def test_a_broken_pickle_is_refused_by_name(pickled, damage):
    import torch

    path = pickled.folder / "pytorch_model.bin"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "nested":
        torch.save({"state_dict": pickled.state}, path)
    elif damage == "missing":
        del pickled.state["bert.embeddings.LayerNorm.bias"]
        torch.save(pickled.state, path)
    else:
        path.unlink()
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin"):
        convert_bin(pickled.folder)


@pytest.mark.torch
def test_safetensors_are_added_beside_a_pickle(pickled):
    before = {path.name for path in pickled.folder.iterdir()}
    checkpoint = add_safetensors(pickled.folder)
    assert {path.name for path in pickled.folder.iterdir()} == before | {"model.safetensors"}
    np.testing.assert_array_equal(embed(checkpoint, TEXTS), pickled.truth)
    with pytest.raises(ArtifactError, match="has safetensors already"):
        add_safetensors(pickled.folder)


def test_an_old_torch_is_refused(tiny_checkpoint, monkeypatch):
    old = SimpleNamespace(__version__="2.9.1+cpu")
    monkeypatch.setattr(module, "need", lambda *_, **__: old)
    with pytest.raises(MissingExtraError, match=r"torch 2\.9\.1\+cpu cannot open .* safely"):
        convert_bin(tiny_checkpoint().folder)


def test_safetensors_are_converted_without_torch(tiny_checkpoint, tmp_path, monkeypatch):
    checkpoint = tiny_checkpoint(normalize=True)
    monkeypatch.setattr(module, "need", None)
    # A .bin beside safetensors is never opened.
    (checkpoint.folder / "pytorch_model.bin").write_bytes(b"no pickle")
    made = convert(checkpoint.folder, tmp_path / "out")
    np.testing.assert_array_equal(embed(made, TEXTS), embed(checkpoint, TEXTS))
    again = convert(made.folder, tmp_path / "again", dtype="float16")
    np.testing.assert_allclose(embed(again, TEXTS), embed(checkpoint, TEXTS), atol=5e-3)


def test_the_card_of_the_source_is_kept(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint().folder
    (folder / "README.md").write_text("许可：Apache-2.0\n", encoding="utf-8")
    made = convert(folder, tmp_path / "out").folder / "README.md"
    assert made.read_text(encoding="utf-8") == "许可：Apache-2.0\n"
    (folder / "README.md").write_bytes(b"\xff")
    with pytest.raises(ArtifactError, match=r"README\.md is not UTF-8"):
        convert(folder, tmp_path / "other")


def test_what_is_stated_has_the_last_word(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint(query_prefix="问", max_length=64).folder
    stated = Stated(pooling="avg", normalize=True, query_prefix="", passage_prefix="答：")
    made = convert(folder, tmp_path / "out", stated=stated)
    assert made.encoding == Encoding(
        pooling="avg", normalize=True, max_length=64, passage_prefix="答："
    )
    # Two files that disagree: whoever states it settles it.
    (made.folder / "manifest.json").unlink()
    (made.folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    with pytest.raises(ArtifactError, match="max_length 64, the sentence-transformers files 32"):
        convert(made.folder, tmp_path / "settled")
    settled = convert(made.folder, tmp_path / "settled", stated=Stated(max_length=32))
    assert settled.encoding.max_length == 32


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (Stated(pooling="max"), "pooling 'max' is none of cls"),
        (Stated(max_length=1), "max_length is 1; it must be a whole number from 2 to 512"),
        (Stated(max_length=600), "max_length is 600; it must be"),
        (Stated(query_suffix="无"), "suffix"),
    ],
)
def test_what_no_folder_may_state_is_refused(tiny_checkpoint, tmp_path, stated, message):
    wrong = ArtifactError if stated.query_suffix else InputError
    with pytest.raises(wrong, match=message):
        convert(tiny_checkpoint().folder, tmp_path / "out", stated=stated)
    assert not (tmp_path / "out").exists()


def test_a_length_beyond_the_positions_is_an_error_of_whoever_states_it(
    tiny_checkpoint, tiny_shape, tmp_path
):
    folder = tiny_checkpoint(shape=replace(tiny_shape, positions=40), max_length=32).folder
    with pytest.raises(InputError, match="max_length 64 is more than the model's 40 positions"):
        convert(folder, tmp_path / "out", stated=Stated(max_length=64))


def test_of_a_reranker_only_the_length_can_be_stated(tiny_reranker, tmp_path):
    made = convert(tiny_reranker, tmp_path / "out", stated=Stated(max_length=32))
    assert made.is_classifier
    assert made.encoding.max_length == 32
    with pytest.raises(InputError, match="is a reranker: of its encoding only max_length counts"):
        convert(tiny_reranker, tmp_path / "other", stated=Stated(normalize=True))
    assert not (tmp_path / "other").exists()


def test_wrong_sources_and_targets_are_refused(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint().folder
    with pytest.raises(ArtifactError, match="exists already"):
        convert(folder, folder)
    with pytest.raises(ArtifactError, match=r"config\.json is missing"):
        convert(tmp_path / "absent", tmp_path / "out")
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"holds no model\.safetensors"):
        convert(bare, tmp_path / "out")
    assert not (tmp_path / "out").exists()
