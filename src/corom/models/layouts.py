"""How the model folders of this world say what `Encoding` and `Shape` say.

Each reader returns only what its layout states. ModelScope and sentence-transformers files may
stand side by side; what both state must agree, and what neither states has ModelScope's default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from corom.errors import ArtifactError, InputError
from corom.files import read_object
from corom.models.config import LONGEST, Activation, Encoding, Pooling, Shape
from corom.models.modules import module_paths, read_modules

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
CONFIG_KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
}
"""Field of Shape -> key of config.json, for the sizes no model may leave out."""

AROUND_KEYS = {
    "boq": "query_prefix",
    "bod": "passage_prefix",
    "eoq": "query_suffix",
    "eod": "passage_suffix",
}
"""ModelScope's name -> field of Encoding, for what stands around texts."""

_POOLERS: dict[str, Pooling] = {
    "cls": "cls",
    "cls_token": "cls",
    "mean": "avg",
    "mean_tokens": "avg",
}
_KINDS = {str: "text", bool: "true or false", int: "a whole number"}


@dataclass(frozen=True, kw_only=True)
class Stated:
    """The settings of an `Encoding` that somebody states, a file layout perhaps; None: silent."""

    pooling: str | None = None
    normalize: bool | None = None
    max_length: int | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    query_suffix: str | None = None
    passage_suffix: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return what is stated, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


SILENT = Stated()


def read_shape(folder: Path) -> Shape:
    """Return the shape of the BERT encoder in `folder`, from config.json.

    ModelScope also allows the same keys in the `model` part of configuration.json.
    """
    path = folder / "config.json"
    if path.is_file() or not (folder / "configuration.json").is_file():
        config = read_object(path)
    else:
        path = folder / "configuration.json"
        part = _part(read_object(path), "model", path)
        config = {**part, "model_type": part.get("model_type", part.get("type"))}
    _refuse_other_models(config, path)
    try:
        sizes = {ours: config[theirs] for ours, theirs in CONFIG_KEYS.items()}
        return Shape(
            **sizes,
            token_types=config.get("type_vocab_size", 2),
            layer_norm_eps=config.get("layer_norm_eps", 1e-12),
            activation=_ACTIVATIONS[config.get("hidden_act", "gelu")],
        )
    except KeyError as error:
        raise ArtifactError(f"{path} lacks {error.args[0]}") from None
    except InputError as error:
        raise ArtifactError(f"{path}: {error}") from None


def _refuse_other_models(config: dict[str, Any], path: Path) -> None:
    architectures = config.get("architectures") or [""]
    kind = config.get("model_type") or str(architectures[0])
    if not str(kind).lower().startswith("bert"):
        raise ArtifactError(f"{path}: model_type {kind!r} is not supported, only BERT encoders are")
    known = {
        "position_embedding_type": ("absolute",),
        "hidden_act": tuple(_ACTIVATIONS),
        "is_decoder": (False,),
    }
    for key, values in known.items():
        if (found := config.get(key, values[0])) not in values:
            listed = ", ".join(str(value) for value in values)
            raise ArtifactError(f"{path}: {key} {found!r} is not supported, only {listed}")


def is_classifier(folder: Path) -> bool:
    """Return whether a head gives labels or scores: a reranker's folder, no encoder's.

    By config.json, or by the task that a ModelScope folder states.
    """
    config, stated = (
        read_object(folder / name, missing_ok=True)
        for name in ("config.json", "configuration.json")
    )
    named = "ForSequenceClassification" in str(config.get("architectures"))
    return named or stated.get("task") == "text-ranking"


def read_encoding(folder: Path, *, positions: int, stated: Stated = SILENT) -> Encoding:
    """Return the encoding the files in `folder` state, for a model of that many `positions`.

    What `stated` says has the last word; if it cannot be, that is an InputError.
    """
    modelscope = _read_modelscope(folder)
    if is_classifier(folder):
        sentence_transformers = _read_cross_encoder(folder, positions=positions)
    else:
        sentence_transformers = _read_sentence_transformers(folder)
    said = stated.settings()
    Encoding(**said)  # what cannot be is an error of whoever states it, not of the folder
    one, other = modelscope.settings(), sentence_transformers.settings()
    for name in one:
        if name in other and name not in said and one[name] != other[name]:
            raise ArtifactError(
                f"{folder}: configuration.json states {name} {_shown(name, one[name])}, the "
                f"sentence-transformers files {_shown(name, other[name])}; make them agree"
            )
    # Where nobody says: all positions, as sentence-transformers does, or ModelScope's default.
    default = LONGEST if (folder / "modules.json").is_file() else Encoding.max_length
    settings = {"max_length": min(positions, default), **other, **one, **said}
    if settings["max_length"] > positions:
        wrong = InputError if "max_length" in said else ArtifactError
        raise wrong(
            f"{folder}: max_length {settings['max_length']} is more than the model's "
            f"{positions} positions"
        )
    try:
        return Encoding(**settings)
    except InputError as error:
        raise ArtifactError(f"{folder}: {error}") from None


def stated_max_length(folder: Path) -> int | None:
    """Return the max_length the files state; None where `read_encoding` takes a default."""
    stated = (read(folder).max_length for read in (_read_modelscope, _read_sentence_transformers))
    return next((length for length in stated if length is not None), None)


def _shown(name: str, value: object) -> str:
    # A prefix may be long, and someone's private wording.
    return f"a text of {len(str(value))} characters" if "fix" in name else repr(value)


def _part(config: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    part = config.get(name) or {}
    if not isinstance(part, dict):
        raise ArtifactError(f"{path}: {name} must be an object, not {type(part).__name__}")
    return part


def _typed(config: dict[str, Any], key: str, *, kind: type, path: Path) -> Any:  # noqa: ANN401
    value = config.get(key)
    if value is None or type(value) is kind:
        return value
    raise ArtifactError(f"{path}: {key} must be {_KINDS[kind]}, not {value!r}")


def _read_modelscope(folder: Path) -> Stated:
    # Source: modelscope 1.40, preprocessors/nlp/sentence_embedding_preprocessor.py and
    # models/nlp/bert/sentence_embedding.py.
    path = folder / "configuration.json"
    config = read_object(path, missing_ok=True)
    model, preprocessor = _part(config, "model", path), _part(config, "preprocessor", path)
    texts = {**model, **preprocessor}
    return Stated(
        pooling=_typed(model, "emb_pooler_type", kind=str, path=path),
        normalize=_typed(model, "normalize", kind=bool, path=path),
        max_length=_typed(preprocessor, "max_length", kind=int, path=path),
        **{name: _typed(texts, key, kind=str, path=path) for key, name in AROUND_KEYS.items()},
    )


def _read_sentence_transformers(folder: Path) -> Stated:
    path = folder / "modules.json"
    if not path.is_file():
        return SILENT
    modules = read_modules(path)
    pooling = folder / modules.get("Pooling", "1_Pooling") / "config.json"
    prompts = folder / "config_sentence_transformers.json"
    texts = _part(read_object(prompts, missing_ok=True), "prompts", prompts)
    passage = "document" if texts.get("document") is not None else "passage"
    stated = Stated(
        pooling=_read_pooling(pooling),
        normalize="Normalize" in modules,
        max_length=_read_length(folder),
        query_prefix=_typed(texts, "query", kind=str, path=prompts),
        passage_prefix=_typed(texts, passage, kind=str, path=prompts),
    )
    prefixed = stated.query_prefix or stated.passage_prefix
    # [CLS] counts as part of the prompt: pooling cls would take the first token behind it.
    if prefixed and read_object(pooling).get("include_prompt") is False:
        raise ArtifactError(f"{pooling}: include_prompt false is not supported with prompts")
    return stated


def _read_cross_encoder(folder: Path, *, positions: int) -> Stated:
    """Return the length of a cross-encoder that is no folder of ModelScope's.

    sentence-transformers' CrossEncoder reads as much as the tokenizer says, else all positions;
    version 6 writes a modules.json that lists the Transformer alone.
    """
    path = folder / "modules.json"
    if path.is_file() and (names := [name for name, _ in module_paths(path)]) != ["Transformer"]:
        raise ArtifactError(
            f"{path} lists {', '.join(names) or 'nothing'}; of a reranker corom reads a Transformer"
        )
    if (folder / "configuration.json").is_file():
        return SILENT
    return Stated(max_length=min(_read_length(folder) or LONGEST, positions, LONGEST))


def _read_pooling(path: Path) -> Pooling:
    """Return the pooling of a 1_Pooling/config.json: old booleans, new string, or both agreeing."""
    config = read_object(path)
    prefix = "pooling_mode_"
    modes = {key.removeprefix(prefix) for key in config if key.startswith(prefix) and config[key]}
    found = {_POOLERS.get(mode, mode) for mode in modes}
    if (new := config.get("pooling_mode")) is not None:
        listed = new if isinstance(new, list) else [new]
        found |= {_POOLERS.get(mode, mode) for mode in map(str, listed)}
    if len(found) != 1 or not found <= set(_POOLERS.values()):
        shown = " and ".join(sorted(found)) or "nothing"
        raise ArtifactError(f"{path}: pooling {shown} is not supported, only cls or mean")
    return cast(Pooling, found.pop())


def _read_length(folder: Path) -> int | None:
    """Return max_seq_length, which since version 5.4 is the tokenizer's model_max_length."""
    path = folder / "sentence_bert_config.json"
    config = read_object(path, missing_ok=True)
    if config.get("do_lower_case"):
        raise ArtifactError(
            f"{path}: do_lower_case is not supported; state it in tokenizer_config.json"
        )
    if (length := _typed(config, "max_seq_length", kind=int, path=path)) is not None:
        return cast(int, length)
    config = read_object(folder / "tokenizer_config.json", missing_ok=True)
    length = config.get("model_max_length")
    # transformers writes 10^30 for "no limit".
    return length if type(length) is int and length <= LONGEST else None
