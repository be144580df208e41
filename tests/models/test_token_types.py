from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from corom import Reranker
from corom.engines.compression import convert_to_int8
from corom.errors import ArtifactError
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.config import Shape
from corom.models.convert import add_safetensors, convert
from corom.models.head import read_head
from corom.models.token_types import (
    TOKEN_TYPES,
    has_token_types,
    require_one_type,
    with_one_type,
    with_twins,
)

QUERIES = ["糖尿病吃什么药", "头痛", "药" * 90]
PASSAGES = ["患者要注意饮食", "发热咳嗽检查" * 30, "手术" * 80]


@pytest.fixture
def typed(tiny_reranker: Path) -> Path:
    """Make a cross-encoder's folder whose token types differ, as other libraries' do."""
    (tiny_reranker / "manifest.json").unlink()
    path, name = tiny_reranker / "model.safetensors", f"bert.{TOKEN_TYPES}"
    tensors = load_file(path)
    tensors[name] = np.random.default_rng(2).normal(0, 0.5, tensors[name].shape).astype(np.float32)
    save_file(tensors, path)
    return tiny_reranker


def scores(folder: Path) -> np.ndarray:
    return Reranker.load(folder, precision="fp32").score(QUERIES, PASSAGES)


def test_a_twin_differs_by_the_second_type(typed: Path) -> None:
    plain = load_checkpoint(typed)
    twins = with_twins(plain)
    own, weights = plain.load_weights(), twins.load_weights()
    words = weights.pop("embeddings.word_embeddings.weight")
    size = plain.shape.vocabulary
    assert (twins.second_type, plain.second_type) == (size, 0)
    assert words.shape == (2 * size, 32)
    moved = np.tile(own[TOKEN_TYPES][1] - own[TOKEN_TYPES][0], (size, 1))
    np.testing.assert_allclose(words[size:] - words[:size], moved, atol=1e-6)
    assert all(np.array_equal(weights[name], own[name]) for name in weights)


def test_a_folder_tells_whether_it_has_types(
    typed: Path, tiny_checkpoint: Callable[..., Checkpoint], tiny_shape: Shape
) -> None:
    checkpoint = load_checkpoint(typed)
    assert has_token_types(checkpoint)
    with pytest.raises(ArtifactError, match="token types, which training does not"):
        require_one_type(checkpoint)
    one = with_one_type(checkpoint.load_weights())[TOKEN_TYPES]
    assert np.array_equal(one[0], one[1])
    assert not has_token_types(tiny_checkpoint(shape=replace(tiny_shape, token_types=1)))


def test_converting_a_reranker_keeps_head_and_types(typed: Path, tmp_path: Path) -> None:
    made = convert(typed, tmp_path / "made")
    assert made.is_classifier
    assert made.encoding.max_length == 64
    np.testing.assert_array_equal(scores(made.folder), scores(typed))
    for mine, theirs in zip(read_head(made), read_head(load_checkpoint(typed)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    half = convert(typed, tmp_path / "half", dtype="float16")
    np.testing.assert_allclose(scores(half.folder), scores(typed), atol=0.02)
    assert (half.folder / "README.md").read_text("utf-8") == "# reranker\n"  # the source's


@pytest.mark.torch
def test_a_pickled_reranker_is_read(typed: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    wanted, path, pickle = scores(typed), typed / "model.safetensors", typed / "pytorch_model.bin"
    state = {name: torch.from_numpy(value) for name, value in load_file(path).items()}
    torch.save(state, pickle)
    path.unlink()
    with pytest.raises(ArtifactError, match="corom convert"):
        Reranker.load(typed)
    np.testing.assert_array_equal(scores(convert(typed, tmp_path / "made").folder), wanted)
    add_safetensors(typed)
    np.testing.assert_array_equal(scores(typed), wanted)
    path.unlink()
    torch.save({name: part for name, part in state.items() if "classifier" not in name}, pickle)
    with pytest.raises(ArtifactError, match=r"pytorch_model.bin holds no classifier.weight"):
        convert(typed, tmp_path / "headless")


@pytest.mark.filterwarnings("ignore:.*int8 keeps")
def test_an_int8_form_in_a_folder_is_for_one_type_only(typed: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="token types: no folder can hold its int8 form"):
        convert_to_int8(typed, tmp_path / "typed")
    assert not (tmp_path / "typed").exists()
    path, name = typed / "model.safetensors", f"bert.{TOKEN_TYPES}"
    tensors = load_file(path)
    tensors[name][1] = tensors[name][0]
    save_file(tensors, path)
    made = convert_to_int8(typed, tmp_path / "made")
    assert made.int8_file is not None
    found = Reranker.load(made.folder, precision="int8").score(QUERIES, PASSAGES)
    np.testing.assert_allclose(found, scores(typed), atol=0.1)


def test_modelscopes_task_makes_a_folder_a_rerankers(typed: Path) -> None:
    config = typed / "config.json"
    config.write_text(config.read_text().replace("BertForSequenceClassification", "BertModel"))
    assert load_checkpoint(typed).is_classifier
