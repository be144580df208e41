"""BERTs as they are before training: for speed, memory and kills the weights do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from corom.models import EMBEDDED
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.config import Encoding, Shape
from corom.models.names import open_model
from corom.models.portable import Portable, write_portable
from corom.models.tokenizer import read_tokenizer
from corom.models.weights import Weights
from encode_backends import MAX_LENGTH


def random_weights(shape: Shape, *, seed: int) -> Weights:
    """Return weights of N(0, 0.02), norms 1, biases 0."""
    rng = np.random.default_rng(seed)
    return {
        name: np.full(size, float(name.endswith("Norm.weight")), np.float32)
        if len(size) == 1
        else rng.normal(0, 0.02, size).astype(np.float32)
        for name, size in shape.weight_shapes().items()
    }


def large_model(work: Path, *, layers: int, seed: int, tokenizer_from: Path) -> Checkpoint:
    """Return a BERT of 768 hidden that reads 128 tokens, made unless it is in the work folder."""
    folder = work / f"bert-{layers}x768-seed{seed}"
    if not folder.exists():
        shape = Shape(layers=layers, hidden=768, heads=12, intermediate=3072, vocabulary=21_128)
        encoding = Encoding(max_length=MAX_LENGTH)
        tokenizer = read_tokenizer(tokenizer_from, shape=shape, encoding=encoding)
        weights = random_weights(shape, seed=seed)
        write_portable(folder, Portable(shape, encoding, weights, tokenizer))
    return load_checkpoint(folder)


def write_small_model(folder: Path, *, dim: int) -> None:
    """Write a BERT of one layer with the embedded model's vocabulary."""
    known = open_model(EMBEDDED)
    vocabulary = known.shape.vocabulary
    shape = Shape(layers=1, hidden=dim, heads=dim // 64, intermediate=dim, vocabulary=vocabulary)
    weights = random_weights(shape, seed=0)
    write_portable(folder, Portable(shape, known.encoding, weights, known.tokenizer_json))
