"""BERT in plain numpy, one text at a time: the truth other engines are held to."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer

from corom.models.checkpoint import Checkpoint
from corom.models.config import Shape

_erf = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def hidden_states(
    weights: dict, shape: Shape, *, ids: list[int], types: list[int] | None = None
) -> list[np.ndarray]:
    """The embeddings' output and every layer's, each (tokens, hidden) float64."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + shape.layer_norm_eps)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    kinds = w["embeddings.token_type_embeddings.weight"][types or [0] * len(ids)]
    states = [norm(x + kinds, "embeddings.LayerNorm")]
    for layer in range(shape.layers):
        x, at = states[-1], f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, f"{at}.attention.self.{name}").reshape(len(ids), shape.heads, -1)
            for name in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(query.shape[2])
        scores = np.exp(scores - scores.max(2, keepdims=True))
        scores /= scores.sum(2, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", scores, value).reshape(len(ids), -1)
        mixed = linear(mixed, f"{at}.attention.output.dense")
        x = norm(x + mixed, f"{at}.attention.output.LayerNorm")
        inner = ACTIVATIONS[shape.activation](linear(x, f"{at}.intermediate.dense"))
        states.append(norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm"))
    return states


def token_ids(checkpoint: Checkpoint, text: str, *, query: bool = True) -> list[int]:
    """[CLS] prefix text [SEP], cut to the maximum length, with the suffix token if any."""
    encoding, kind = checkpoint.encoding, "query" if query else "passage"
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer_json)
    tokenizer.enable_truncation(encoding.max_length)
    ids = tokenizer.encode(getattr(encoding, f"{kind}_prefix") + text).ids
    if suffix := getattr(encoding, f"{kind}_suffix"):
        ids = [*ids[: encoding.max_length - 1], tokenizer.token_to_id(suffix)]
    return ids


def embed(checkpoint: Checkpoint, texts: Iterable[str], *, query: bool = True) -> np.ndarray:
    """One vector per text: (texts, dim) float32."""
    vectors, weights = [], checkpoint.load_weights()
    for text in texts:
        ids = token_ids(checkpoint, text, query=query)
        states = hidden_states(weights, checkpoint.shape, ids=ids)
        vectors.append(
            {
                "cls": lambda s: s[-1][0],
                "avg": lambda s: s[-1].mean(0),
                "avg_top2": lambda s: ((s[-2] + s[-1]) / 2).mean(0),
                "avg_first_last": lambda s: ((s[1] + s[-1]) / 2).mean(0),
            }[checkpoint.encoding.pooling](states)
        )
    result = np.array(vectors).reshape(len(vectors), checkpoint.shape.hidden)
    if dense := checkpoint.dense:
        result = result @ dense.tensors["linear.weight"].T.astype(np.float64)
        result += dense.tensors.get("linear.bias", 0)
        result = np.tanh(result) if dense.tanh else result
    if checkpoint.encoding.normalize:
        result /= np.linalg.norm(result, axis=1, keepdims=True)
    return result.astype(np.float32)
