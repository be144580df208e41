"""The tokenizer of a model folder, as the text of a `tokenizer.json`.

`tokenizer.json` is taken as it is; a `vocab.txt` alone becomes BERT's WordPiece, token for token
what transformers' BertTokenizerFast (and so ModelScope) makes of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corom.errors import ArtifactError
from corom.models.config import Encoding, Shape
from corom.models.layouts import read_object

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_OPTIONS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}


def read_tokenizer(folder: Path, *, shape: Shape, encoding: Encoding) -> str:
    """Return the tokenizer of `folder` without truncation and padding (the encoder does these).

    Raises ArtifactError when there is none, when it is not a WordPiece one, when its ids exceed
    the model's vocabulary, when it does not put [CLS] and [SEP] around texts, and when a suffix of
    `encoding` is not one of its tokens.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        tokenizer = read_object(path)
        tokenizer.update(truncation=None, padding=None)
    else:
        path = folder / "vocab.txt"
        if not path.is_file():
            raise ArtifactError(f"{folder} holds neither tokenizer.json nor vocab.txt")
        tokenizer = json.loads(_from_vocabulary(path))
    try:
        _apply_options(tokenizer, folder / "tokenizer_config.json")
        vocabulary = _checked_vocabulary(tokenizer, path=path, shape=shape)
    except (TypeError, KeyError, AttributeError):
        raise ArtifactError(f"{path} does not have a tokenizer's form; fetch it again") from None
    for name in ("query_suffix", "passage_suffix"):
        if (suffix := getattr(encoding, name)) and suffix not in vocabulary:
            raise ArtifactError(f"{path}: the {name} must be one token of the vocabulary")
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    _check_frame(text, [vocabulary["[CLS]"], vocabulary["[SEP]"]], path=path)
    return text


def vocabulary(tokenizer: dict[str, Any]) -> list[str]:
    """Return the tokens of a WordPiece tokenizer by id; an id without one gets a placeholder."""
    tokens = {number: token for token, number in tokenizer["model"]["vocab"].items()}
    return [tokens.get(number, f"[unused-id-{number}]") for number in range(max(tokens) + 1)]


def _checked_vocabulary(tokenizer: dict[str, Any], *, path: Path, shape: Shape) -> dict[str, int]:
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type") != "WordPiece":
        kind = model.get("type") if isinstance(model, dict) else model
        raise ArtifactError(f"{path}: tokenizer {kind!r} is not supported, only WordPiece is")
    tokens: dict[str, int] = model.get("vocab") or {}
    if missing := [token for token in SPECIAL[:4] if token not in tokens]:
        raise ArtifactError(f"{path} lacks the token {missing[0]}")
    added = [entry["id"] for entry in tokenizer.get("added_tokens") or []]
    if (highest := max(*tokens.values(), *added)) >= shape.vocabulary:
        raise ArtifactError(
            f"{path} goes up to token id {highest}, the model's vocabulary has "
            f"{shape.vocabulary} entries"
        )
    return tokens


def _check_frame(tokenizer_json: str, wanted: list[int], *, path: Path) -> None:
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_str(tokenizer_json).encode("").ids
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the library's panics are not even Exceptions
        raise ArtifactError(f"{path} cannot be used ({error}); fetch it again") from None
    # A text is cut between the two, and the first one's vector may stand for it.
    if found != wanted:
        raise ArtifactError(
            f"{path} must put [CLS] and [SEP] around a text, ids {wanted}, not {found}: its "
            "post_processor is missing or another model's; fetch it again"
        )


def _apply_options(tokenizer: dict[str, Any], path: Path) -> None:
    """Let tokenizer_config.json have the last word on the normalizer, as in transformers."""
    config = read_object(path) if path.is_file() else {}
    normalizer = tokenizer.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        normalizer.update({ours: config[key] for ours, key in _OPTIONS.items() if key in config})


def _from_vocabulary(path: Path) -> str:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    try:
        with path.open(encoding="utf-8") as file:  # str.splitlines would split at U+2028 too
            tokens = {line.rstrip("\n"): number for number, line in enumerate(file)}
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not UTF-8 ({error.reason}); fetch it again") from None
    if missing := [token for token in SPECIAL[:4] if token not in tokens]:
        raise ArtifactError(f"{path} lacks the token {missing[0]}")
    tokenizer = Tokenizer(
        models.WordPiece(tokens, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokens[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens([token for token in SPECIAL if token in tokens])
    return str(tokenizer.to_str())
