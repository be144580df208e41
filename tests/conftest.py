"""What every test may use: a tiny checkpoint made on the fly, and no network but this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from safetensors.numpy import save_file

from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.config import Encoding, Shape
from corom.models.dense import Dense
from corom.models.head import Head
from corom.models.portable import Portable, write_portable
from corom.models.token_types import with_one_type

# Shared machines stall: a deadline would fail tests for what others do.
settings.register_profile("corom", deadline=None)
settings.load_profile("corom")

CHARACTERS = (
    "的一是不了在有人我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学"
    "糖尿病高血压患者头痛发热咳嗽吃什么药饮食治疗手术消化道出血多久注意休息心肺肝肾胃肠检查"
)
PIECES = ("ct", "mri", "a", "b", "c", "##a", "##b", "##c", "1", "2", "3", "##1", "##2", "##3")
VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("，", "。", "？", ",", ".", "?", "-", "/", *PIECES),
    *dict.fromkeys(CHARACTERS),
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to connect to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


def random_weights(shape: Shape, *, seed: int = 7) -> dict[str, np.ndarray]:
    """Seeded weights in which everything matters: no zero bias, no unit norm."""
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(0, 0.2, dimensions).astype(np.float32)
        for name, dimensions in shape.weight_shapes().items()
    }
    for name, weight in weights.items():
        if name.endswith("LayerNorm.weight"):
            weight += 1
    return weights


def random_dense(hidden: int, *, dim: int = 48, bias: bool, tanh: bool, seed: int) -> Dense:
    """A seeded layer that follows the pooling."""
    rng = np.random.default_rng(seed)
    sizes = {"linear.weight": (dim, hidden), **({"linear.bias": (dim,)} if bias else {})}
    tensors = {name: rng.normal(0, 0.3, size).astype(np.float32) for name, size in sizes.items()}
    return Dense(tensors, tanh)


def write_reranker(folder: Path, base: Checkpoint, *, seed: int) -> None:
    """Write a cross-encoder with the body of `base` and a seeded head; it reads 64 tokens."""
    rng, hidden = np.random.default_rng(seed), base.shape.hidden
    sizes = ((hidden, hidden), (hidden,), (1, hidden), (1,))
    head = Head(*(rng.normal(0, 0.3, size).astype(np.float32) for size in sizes))
    weights, encoding = with_one_type(base.load_weights()), Encoding(max_length=64)
    write_portable(folder, Portable(base.shape, encoding, weights, base.tokenizer_json, head))


@pytest.fixture
def tiny_shape() -> Shape:
    return Shape(
        layers=2, hidden=32, heads=4, intermediate=64, vocabulary=len(VOCABULARY), positions=512
    )


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, tiny_shape: Shape) -> Callable[..., Checkpoint]:
    """Make a checkpoint in ModelScope's layout: `tiny_checkpoint(pooling="avg", seed=3, …)`.

    Options: the fields of Encoding, `shape=`, `seed=` and `name=` (of the folder).
    """

    def make(
        *,
        shape: Shape = tiny_shape,
        seed: int = 7,
        name: str = "tiny",
        pooling: str = "cls",
        normalize: bool = False,
        max_length: int = 128,
        query_prefix: str = "",
        passage_prefix: str = "",
    ) -> Checkpoint:
        folder = tmp_path / name
        folder.mkdir()
        config = {
            "model_type": "bert",
            "num_hidden_layers": shape.layers,
            "hidden_size": shape.hidden,
            "num_attention_heads": shape.heads,
            "intermediate_size": shape.intermediate,
            "vocab_size": shape.vocabulary,
            "max_position_embeddings": shape.positions,
            "type_vocab_size": shape.token_types,
            "layer_norm_eps": shape.layer_norm_eps,
            "hidden_act": {"gelu_tanh": "gelu_new"}.get(shape.activation, shape.activation),
        }
        configuration = {
            "framework": "pytorch",
            "task": "sentence-embedding",
            "model": {"type": "bert", "emb_pooler_type": pooling, "normalize": normalize},
            "pipeline": {"type": "sentence-embedding"},
            "preprocessor": {
                "type": "sentence-embedding",
                "max_length": max_length,
                "boq": query_prefix,
                "bod": passage_prefix,
            },
        }
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "configuration.json").write_text(json.dumps(configuration))
        tokens = [*VOCABULARY, *(f"[unused{i}]" for i in range(shape.vocabulary - len(VOCABULARY)))]
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
        save_file(random_weights(shape, seed=seed), folder / "model.safetensors")
        return load_checkpoint(folder)

    return make


@pytest.fixture
def tiny_dense(
    tiny_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> Callable[..., Checkpoint]:
    """Make a checkpoint with a Dense: `tiny_dense(dim=48, bias=False, tanh=False, normalize=True)`.

    Options: besides these, those of `tiny_checkpoint`.
    """

    def make(
        *, dim: int = 48, bias: bool = True, tanh: bool = True, name: str = "dense", **options: Any
    ) -> Checkpoint:
        base = tiny_checkpoint(name=f"{name}-body", **options)
        seed = options.get("seed", 7)
        dense = random_dense(base.shape.hidden, dim=dim, bias=bias, tanh=tanh, seed=seed)
        weights = base.load_weights()
        model = Portable(base.shape, base.encoding, weights, base.tokenizer_json, dense=dense)
        write_portable(tmp_path / name, model, card="# tiny\n")
        return load_checkpoint(tmp_path / name)

    return make


@pytest.fixture
def tiny_reranker(tiny_checkpoint: Callable[..., Checkpoint], tmp_path: Path) -> Path:
    """Make the folder of a cross-encoder that reads up to 64 tokens."""
    folder = tmp_path / "reranker"
    write_reranker(folder, tiny_checkpoint(name="tiny-body"), seed=5)
    return folder
