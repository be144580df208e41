"""The portable model folder: one that ModelScope, sentence-transformers and transformers load too.

It has the old sentence-transformers form: what version 6 saves is not read by version 5.3, by
text-embeddings-inference or by vLLM, while all versions read the old one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from corom.checks import require_one_of
from corom.errors import ArtifactError
from corom.files import atomic_folder, write_bytes, write_json
from corom.models.config import Encoding, Shape
from corom.models.dense import Dense
from corom.models.head import Head
from corom.models.layouts import AROUND_KEYS, CONFIG_KEYS
from corom.models.tokenizer import SPECIAL, vocabulary
from corom.models.weights import SINGLE, Weights, canonical, writing

Dtype: TypeAlias = Literal["float32", "float16"]

_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "avg",
    "pooling_mode_max_tokens": None,
    "pooling_mode_mean_sqrt_len_tokens": None,
}


class Portable(NamedTuple):
    """All that a portable folder is made of but its card."""

    shape: Shape
    encoding: Encoding
    """of a cross-encoder only its `max_length` counts"""
    weights: Weights
    """float32 by canonical name"""
    tokenizer_json: str
    head: Head | None = None
    """of a cross-encoder"""
    dense: Dense | None = None
    """of an encoder"""


def write_portable(
    target: Path, model: Portable, *, card: str | None = None, dtype: Dtype = "float32"
) -> None:
    """Write the model folder `target`, all of it or nothing; an existing one is refused.

    Weights are checked against the shape; `card` is the README.md (a short one is made if None).
    What sentence-transformers cannot express (pooling avg_top2 and avg_first_last, suffixes) is
    written without its files, so that it cannot load the folder and give other vectors; what
    ModelScope cannot (a Dense) without its configuration.json, and what neither can is refused.

    A cross-encoder is a BertForSequenceClassification of one label, which transformers and
    sentence-transformers' CrossEncoder read; ModelScope wants it as a pickle. They give query and
    passage token types of their own: of a model that knows one type, write `with_one_type`.
    """
    target = Path(target)
    require_one_of("dtype", dtype, get_args(Dtype))
    tokenizer, encoding = json.loads(model.tokenizer_json), model.encoding
    _refuse_foreign(tokenizer, target)
    if model.dense and not is_expressible(encoding):
        raise ArtifactError(
            f"{target} cannot be written: no layout has a Dense together with a suffix or pooling "
            f"{encoding.pooling}"
        )
    weights = canonical(model.weights, shape=model.shape, source=target)
    tensors = model.head.on(weights) if model.head else weights
    with atomic_folder(target) as folder:
        _write_tensors(folder / SINGLE, tensors, dtype=dtype)
        write_json(folder / "config.json", _config(model))
        if not model.dense:
            write_json(folder / "configuration.json", _configuration(model))
        _write_tokenizer(folder, tokenizer, max_length=encoding.max_length)
        if not model.head and is_expressible(encoding):
            _write_sentence_transformers(folder, model, dtype=dtype)
        write_bytes(folder / "README.md", (card or _card(target.name, model)).encode("utf-8"))


def is_expressible(encoding: Encoding) -> bool:
    """Whether sentence-transformers can give the same vectors."""
    suffixed = encoding.query_suffix or encoding.passage_suffix
    return encoding.pooling in ("cls", "avg") and not suffixed


def _refuse_foreign(tokenizer: dict[str, Any], target: Path) -> None:
    # ModelScope and transformers make a BERT tokenizer of the folder, whatever its JSON holds.
    expected = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
    for part, kind in expected.items():
        if (found := (tokenizer.get(part) or {}).get("type")) != kind:
            raise ArtifactError(
                f"{target} cannot be written: the tokenizer's {part} is {found}, and other "
                f"libraries would read it as {kind}"
            )


def _write_tensors(path: Path, tensors: Weights, *, dtype: Dtype) -> None:
    from safetensors.numpy import save_file

    stored = _stored(tensors, dtype=dtype)
    with writing(path):
        save_file(stored, path, metadata={"format": "pt"})


def _stored(weights: Weights, *, dtype: Dtype) -> dict[str, np.ndarray[Any, Any]]:
    if dtype == "float32":
        return dict(weights)
    stored = {}
    for name, weight in weights.items():
        with np.errstate(over="ignore"):
            stored[name] = weight.astype(np.float16)
        if not np.isfinite(stored[name]).all():
            raise ArtifactError(f"{name} has values too large for float16; write float32")
    return stored


def _config(model: Portable) -> dict[str, Any]:
    shape, pooling = model.shape, model.encoding.pooling
    activation = {"gelu_tanh": "gelu_new"}.get(shape.activation, shape.activation)
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        **{theirs: getattr(shape, ours) for ours, theirs in CONFIG_KEYS.items()},
        "hidden_act": activation,
        "layer_norm_eps": shape.layer_norm_eps,
        "type_vocab_size": shape.token_types,
        "position_embedding_type": "absolute",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "pad_token_id": 0,
        # transformers 5 computes in this type: float32 also for weights stored as float16.
        "torch_dtype": "float32",
    }
    if model.head:
        config["architectures"] = ["BertForSequenceClassification"]
        config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    elif pooling in ("avg_top2", "avg_first_last"):
        config["output_hidden_states"] = True  # ModelScope's poolers need them
    return config


def _configuration(model: Portable) -> dict[str, Any]:
    encoding, task = model.encoding, "text-ranking" if model.head else "sentence-embedding"
    kind: dict[str, Any] = {"type": "bert"}
    reads: dict[str, Any] = {"type": task, "max_length": encoding.max_length}
    if not model.head:
        kind |= {"emb_pooler_type": encoding.pooling, "normalize": encoding.normalize}
        around = {key: getattr(encoding, name) for key, name in AROUND_KEYS.items()}
        reads |= {key: text for key, text in around.items() if text}
    return {
        "framework": "pytorch",
        "task": task,
        "model": kind,
        "pipeline": {"type": task},
        "preprocessor": reads,
    }


def _write_tokenizer(folder: Path, tokenizer: dict[str, Any], *, max_length: int) -> None:
    tokens = vocabulary(tokenizer)
    special = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL if token in tokens}
    normalizer = tokenizer["normalizer"]
    write_json(folder / "tokenizer.json", tokenizer)
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "model_max_length": max_length,
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
            **special,
        },
    )
    write_bytes(folder / "vocab.txt", "".join(f"{token}\n" for token in tokens).encode("utf-8"))


def _write_sentence_transformers(folder: Path, model: Portable, *, dtype: Dtype) -> None:
    encoding, hidden = model.encoding, model.shape.hidden
    behind = [*(["Dense"] if model.dense else []), *(["Normalize"] if encoding.normalize else [])]
    modules = ["Transformer", "Pooling", *behind]
    paths = ["", *(f"{number}_{module}" for number, module in enumerate(modules[1:], start=1))]
    write_json(
        folder / "modules.json",
        [
            {
                "idx": number,
                "name": str(number),
                "path": path,
                "type": f"sentence_transformers.models.{module}",
            }
            for number, (module, path) in enumerate(zip(modules, paths, strict=True))
        ],
    )
    if model.dense:
        model.dense.write_config(folder / "2_Dense" / "config.json")
        _write_tensors(folder / "2_Dense" / SINGLE, model.dense.tensors, dtype=dtype)
    flags = {flag: pooling == encoding.pooling for flag, pooling in _POOLING_FLAGS.items()}
    mode = {"cls": "cls", "avg": "mean"}[encoding.pooling]
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": hidden, **flags, "pooling_mode": mode},
    )
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": encoding.max_length, "do_lower_case": False},
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": {"query": encoding.query_prefix, "document": encoding.passage_prefix},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine" if encoding.normalize else "dot",
        },
    )


def _card(name: str, model: Portable) -> str:
    if model.head:
        return f"# {name}\n"
    shape, encoding = model.shape, model.encoding
    dim = model.dense.dim if model.dense else shape.hidden
    similarity = "cosine" if encoding.normalize else "dot product"
    library = "sentence-transformers" if is_expressible(encoding) else "modelscope"
    return f"""---
language: zh
library_name: {library}
pipeline_tag: sentence-similarity
tags:
- {library}
- sentence-similarity
- feature-extraction
---

# {name}

A BERT text encoder: {shape.layers} layers, {dim} dimensions, {shape.vocabulary} tokens,
{encoding.pooling} pooling, compared by {similarity}, texts cut at {encoding.max_length} tokens.
"""
