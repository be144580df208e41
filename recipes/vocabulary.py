"""A smaller vocabulary with the same tokens: entries no text can ever produce are dropped.

Chinese BERT vocabularies hold thousands of `##汉字` pieces, but the tokenizer puts spaces around
every Chinese character, so none ever continues a word; upper-case and accented entries are out of
reach for a lower-casing tokenizer; `[unused1]` and its kin are split at the brackets.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from corom.models.int8 import WORDS
from corom.models.tokenizer import vocabulary
from corom.models.weights import Weights

_CONTINUED = "##"


class Pruned(NamedTuple):
    """A tokenizer and its weights with fewer entries; token for token the same otherwise."""

    tokenizer_json: str
    weights: Weights
    kept: NDArray[np.int64]
    """The old id of every entry, by new id."""


def prune_vocabulary(tokenizer_json: str, weights: Weights) -> Pruned:
    """Return a WordPiece tokenizer and weights without the entries no text can produce."""
    tokens = vocabulary(json.loads(tokenizer_json))
    tokenizer = Tokenizer.from_str(tokenizer_json)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    kept = [
        number
        for number, token in enumerate(tokens)
        if token in special or _is_reachable(token, tokenizer)
    ]
    return Pruned(
        _renumbered(tokenizer_json, [tokens[number] for number in kept]),
        {**weights, WORDS: np.ascontiguousarray(weights[WORDS][kept])},
        np.asarray(kept),
    )


def _is_reachable(token: str, tokenizer: Tokenizer) -> bool:
    """Whether `token` survives the normaliser and stays whole within one word.

    Every piece of a word is a run of its characters, and the pre-tokenizer splits by character:
    what it splits or changes alone, it splits or changes in every text.
    """
    continued = token.startswith(_CONTINUED) and token != _CONTINUED
    word = "a" + token.removeprefix(_CONTINUED) if continued else token
    normalised = tokenizer.normalizer.normalize_str(word)
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalised)] == [word]


def _renumbered(tokenizer_json: str, tokens: list[str]) -> str:
    tokenizer = json.loads(tokenizer_json)
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer["model"]["vocab"] = ids
    for entry in tokenizer.get("added_tokens") or []:
        entry["id"] = ids[entry["content"]]
    for name, entry in (tokenizer["post_processor"].get("special_tokens") or {}).items():
        entry["ids"] = [ids[name]]
    for end in ("sep", "cls"):  # BertProcessing names its two tokens directly
        if isinstance(pair := tokenizer["post_processor"].get(end), list):
            pair[1] = ids[pair[0]]
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
