"""The int8 form of a checkpoint: made, measured against fp32, kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from corom import bundled
from corom.drafts import draft_of
from corom.engines.base import encoded
from corom.engines.calibration import quantise
from corom.engines.openvino_engine import BATCH_TOKENS, OpenVinoEngine
from corom.engines.projection import projected
from corom.errors import ArtifactError, InputError
from corom.files import publish, require_new
from corom.models.checkpoint import Checkpoint, load_checkpoint, weights_identity
from corom.models.convert import convert
from corom.models.head import Head, read_head
from corom.models.int8 import Fidelity, Int8Weights, save_int8
from corom.models.layouts import SILENT, Stated
from corom.models.portable import Dtype
from corom.models.token_types import has_token_types
from corom.models.weights import INT8
from corom.tokens import PairCutter, TokenCutter, TokenIds, batches
from corom.vectors import Vectors, cosines, normalized

_LEAST = 20


def compress(
    checkpoint: Checkpoint,
    *,
    calibration: Sequence[str],
    held_out: Sequence[str],
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Int8Weights:
    """Return the int8 form of `checkpoint`, calibrated on one set of texts, measured on another.

    Takes about 15 s for 4 layers of 512, some minutes for 12 of 768. The text should be of the
    kind the model will meet, 100 to 500 of each; fewer than 20 are refused.
    """
    for name, texts in (("calibration", calibration), ("held_out", held_out)):
        if len(texts) < _LEAST:
            raise InputError(f"{name} needs at least {_LEAST} texts, got {len(texts)}")
    weights, encoding, shape = checkpoint.load_weights(), checkpoint.encoding, checkpoint.shape
    seen = _cut(checkpoint, calibration)
    int8 = quantise(
        shape,
        weights,
        list(batches(seen, budget=BATCH_TOKENS, longest=encoding.max_length)),
        pooling=encoding.pooling,
        source_sha256=weights_identity(checkpoint.folder),
        progress=progress,
    )
    unseen = _held_out(checkpoint, held_out)
    exact = OpenVinoEngine(
        shape, weights, pooling=encoding.pooling, precision="fp32", threads=threads
    )
    quick = OpenVinoEngine(
        shape, {}, pooling=encoding.pooling, precision="int8", int8=int8, threads=threads
    )
    fidelity = measure(
        *(
            encoded(projected(engine, checkpoint.dense), unseen, longest=encoding.max_length)
            for engine in (exact, quick)
        ),
        head=read_head(checkpoint) if checkpoint.is_classifier else None,
    )
    return replace(int8, fidelity=fidelity)


def _cut(checkpoint: Checkpoint, texts: Sequence[str]) -> list[TokenIds]:
    """Return what the model will meet: texts; for a reranker each with the next one."""
    if checkpoint.is_classifier:
        return _cut_pairs(checkpoint, zip(texts, [*texts[1:], *texts[:1]], strict=True))
    cutter = TokenCutter(checkpoint.tokenizer_json, max_length=checkpoint.encoding.max_length)
    return [tokens.ids for tokens in cutter.cut(texts)]


def _held_out(checkpoint: Checkpoint, texts: Sequence[str]) -> list[TokenIds]:
    """Return what is measured on: texts; for a reranker each of some with each of them."""
    if checkpoint.is_classifier:
        some = texts[:: len(texts) // _LEAST][:_LEAST]
        return _cut_pairs(checkpoint, product(some, some))
    return _cut(checkpoint, texts)


def _cut_pairs(checkpoint: Checkpoint, pairs: Iterable[tuple[str, str]]) -> list[TokenIds]:
    cutter = PairCutter(
        checkpoint.tokenizer_json,
        max_length=checkpoint.encoding.max_length,
        second_type=checkpoint.second_type,
    )
    left, right = zip(*pairs, strict=True)
    return [tokens.ids for tokens in cutter.cut(left, right)]


def convert_to_int8(
    source: Path,
    target: Path,
    *,
    dtype: Dtype = "float32",
    stated: Stated = SILENT,
    texts: Sequence[str] | None = None,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Write a portable folder with an int8 form beside the weights, and return it.

    Every second of `texts` (default: the bundled ones) calibrates, the others are held out.
    `target` appears as a whole. Raises what `convert` and `compress` raise.
    """
    require_new(target)
    calibration, held_out = bundled_texts() if texts is None else (texts[::2], texts[1::2])
    with draft_of(target, folder=True) as scratch:
        draft = scratch / target.name
        made = convert(source, draft, dtype=dtype, stated=stated)
        if made.is_classifier and has_token_types(made):
            raise ArtifactError(
                f"{source} tells query and passage apart by token types: no folder can hold its "
                "int8 form, which is made and kept where it is first used with precision int8"
            )
        int8 = compress(
            made,
            calibration=calibration,
            held_out=held_out,
            threads=threads,
            progress=progress,
        )
        save_int8(draft / INT8, int8)
        publish(draft, target)
    return load_checkpoint(target)


def measure(exact: Vectors, quick: Vectors, *, head: Head | None = None) -> Fidelity:
    """Return how well `quick` keeps `exact`: cosines row by row, and the ten best of each text.

    Those are its neighbours; with a reranker's `head`, for vectors of every pair of some texts,
    what scores best with it.
    """
    closeness = cosines(exact, quick)
    tables = _scores(exact, head), _scores(quick, head)
    ten = min(10, len(tables[0]) - 1)
    overlap = [
        len(set(a) & set(b)) / ten for a, b in zip(*(_best(t, ten) for t in tables), strict=True)
    ]
    return Fidelity(
        mean_cosine=float(closeness.mean()),
        min_cosine=float(closeness.min()),
        top10_overlap=float(np.mean(overlap)),
        texts=len(exact),
    )


def _scores(vectors: Vectors, head: Head | None) -> Vectors:
    """Return how well each text goes with each other, (n, n)."""
    if head is None:
        unit = normalized(vectors)
        return unit @ unit.T
    return head.scores(vectors).reshape(math.isqrt(len(vectors)), -1)


def _best(scores: Vectors, count: int) -> list[list[int]]:
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    best: list[list[int]] = np.argsort(-others, axis=1)[:, :count].tolist()
    return best


def bundled_texts() -> tuple[list[str], list[str]]:
    """Return bundled medical texts in two halves: to calibrate on, and held out.

    People type in many ways, and a character calibration never saw (a comma of half the width, a
    row of full stops) may lie far outside its ranges: so every text to calibrate on is there
    twice, as it is and in one such way, and the held-out ones come in all of them.
    """
    texts = [passage.text for passage in bundled.passages()]
    texts += [query.text for query in bundled.queries()]
    texts += bundled.typed()
    plain, held_out = texts[::2], texts[1::2]
    ways = (None, *_WAYS)
    return (
        plain + [_typed(text, _WAYS[i % len(_WAYS)]) for i, text in enumerate(plain)],
        [_typed(text, ways[i % len(ways)]) for i, text in enumerate(held_out)],
    )


def _typed(text: str, way: Mapping[str, str] | None) -> str:
    for sign, typed in (way or {}).items():
        text = text.replace(sign, typed)
    return text


# How people type: what becomes of the punctuation.
_WAYS: tuple[Mapping[str, str], ...] = (
    dict(zip("，。；：（）？！", ",.;:()?!", strict=True)),
    {"，": ",", "；": ",", "、": ","},
    {"。": "。。。。。。", "？": "？？？", "！": "！！！", "；": "…"},
    {"，": " ", "。": " ", "；": " ", "、": " "},
)
