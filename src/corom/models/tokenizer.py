"""The tokenizer of a model folder, as the text of a `tokenizer.json`.

`tokenizer.json` is taken as it is; a `vocab.txt` alone becomes BERT's WordPiece, token for token
what transformers' BertTokenizerFast (and so ModelScope) makes of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corom.errors import ArtifactError
from corom.files import read_object
from corom.models.config import Encoding, Shape

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_OPTIONS = {
    "lowercase": ("do_lower_case", True),
    "strip_accents": ("strip_accents", None),
    "handle_chinese_chars": ("tokenize_chinese_chars", True),
}
"""Of a BertNormalizer: the key in tokenizer_config.json, and transformers' value without it."""
_KINDS = {
    f"{kind}Tokenizer{end}" for kind in ("Bert", "DistilBert", "Electra") for end in ("", "Fast")
}
_PLAIN_KINDS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""transformers' classes that take a tokenizer.json as it is."""
_TOKEN_FILES = ("added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")


def read_tokenizer(folder: Path, *, shape: Shape, encoding: Encoding) -> str:
    """Return the tokenizer of `folder` without truncation and padding (the encoder does these).

    Raises ArtifactError when there is none, when it is not a WordPiece one, when its ids exceed
    the model's vocabulary, when it does not put [CLS] and [SEP] around texts, when a suffix of
    `encoding` is not one of its tokens, and when the files beside it state what it does not do.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        tokenizer = read_object(path)
    else:
        path = folder / "vocab.txt"
        if not path.is_file():
            raise ArtifactError(f"{folder} holds neither tokenizer.json nor vocab.txt")
        _refuse_other_kinds(folder)
        tokenizer = json.loads(_from_vocabulary(path))
    try:
        _apply_options(tokenizer, folder / "tokenizer_config.json")
        _refuse_unknown_tokens(tokenizer, folder)
        tokenizer.update(truncation=None, padding=None)
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
    _require_special(tokens, path)
    added = [entry["id"] for entry in tokenizer.get("added_tokens") or []]
    if (highest := max(*tokens.values(), *added)) >= shape.vocabulary:
        raise ArtifactError(
            f"{path} goes up to token id {highest}, the model's vocabulary has "
            f"{shape.vocabulary} entries"
        )
    return tokens


def _require_special(tokens: dict[str, int], path: Path) -> None:
    if missing := [token for token in SPECIAL[:4] if token not in tokens]:
        raise ArtifactError(f"{path} lacks the token {missing[0]}")


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
    """Let tokenizer_config.json have the last word on normalizer and cut, as in transformers.

    It has that by its silence, too, where transformers' own value would cut texts otherwise: then
    nobody can tell which of the two the model was trained with, and the folder is refused.
    """
    config = read_object(path, missing_ok=True)
    cut = (tokenizer.get("truncation") or {}).get("direction", "Right")
    if str(config.get("truncation_side", cut)).lower() != "right":
        raise ArtifactError(f"{path.parent}: truncation_side left is not supported, only right")
    normalizer = tokenizer.get("normalizer") or {}
    if (
        normalizer.get("type") != "BertNormalizer"
        or str(config.get("tokenizer_class")) in _PLAIN_KINDS
    ):
        return
    theirs = {ours: config.get(key, default) for ours, (key, default) in _OPTIONS.items()}
    normalizer.update({ours: theirs[ours] for ours, (key, _) in _OPTIONS.items() if key in config})
    own, other = _effect(normalizer), _effect(theirs)
    for ours, (key, default) in _OPTIONS.items():
        if own[ours] != other[ours] and key not in config:
            raise ArtifactError(
                f"{path} does not state {key}: tokenizer.json has {normalizer.get(ours)}, while "
                f"transformers takes {default}; state there which the model was trained with"
            )


def _effect(normalizer: dict[str, Any]) -> dict[str, object]:
    """Return what a BertNormalizer does: without a word on accents, they go with the case."""
    does = {name: normalizer.get(name) for name in _OPTIONS}
    return does | ({"strip_accents": does["lowercase"]} if does["strip_accents"] is None else {})


def _refuse_other_kinds(folder: Path) -> None:
    """Raise ArtifactError where a vocabulary is not that of BERT's own tokenizer."""
    for path in (folder / "tokenizer_config.json", folder / "config.json"):
        kind = read_object(path, missing_ok=True).get("tokenizer_class")
        if kind is not None and str(kind) not in _KINDS:
            raise ArtifactError(
                f"{path}: tokenizer_class {kind!r} is not supported for a vocab.txt, only "
                "BertTokenizer is"
            )


def _refuse_unknown_tokens(tokenizer: dict[str, Any], folder: Path) -> None:
    """Raise ArtifactError where a file states a token that the tokenizer would cut into pieces."""
    known = {entry["content"] for entry in tokenizer.get("added_tokens") or []}
    for path in (folder / name for name in _TOKEN_FILES):
        stated = _tokens_in(read_object(path, missing_ok=True))
        if unknown := sorted(stated - known - set(SPECIAL)):
            raise ArtifactError(
                f"{path} states the token {unknown[0]!r}, which the tokenizer would cut into "
                "pieces; let transformers write a tokenizer.json that does not: "
                f"AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
            )


def _tokens_in(config: dict[str, Any]) -> set[str]:
    """Return the tokens that one of transformers' files states to be whole."""
    if config and all(type(value) is int for value in config.values()):
        return set(config)  # added_tokens.json: token -> id
    more = config.get("extra_special_tokens") or []
    entries = [
        *(value for key, value in config.items() if key.endswith("_token")),
        *(config.get("additional_special_tokens") or []),
        *(more.values() if isinstance(more, dict) else more),
        *(config.get("added_tokens_decoder") or {}).values(),
    ]
    contents = (entry["content"] if isinstance(entry, dict) else entry for entry in entries)
    return {content for content in contents if isinstance(content, str)}


def _from_vocabulary(path: Path) -> str:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    try:
        with path.open(encoding="utf-8") as file:  # str.splitlines would split at U+2028 too
            tokens = {line.rstrip("\n"): number for number, line in enumerate(file)}
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not UTF-8 ({error.reason}); fetch it again") from None
    _require_special(tokens, path)
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
