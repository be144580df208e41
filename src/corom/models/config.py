"""What a model is (`Shape`) and how texts become its vectors (`Encoding`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from corom.checks import require_one_of, require_whole
from corom.errors import InputError

Pooling: TypeAlias = Literal["cls", "avg", "avg_top2", "avg_first_last"]
"""ModelScope's names: [CLS]; mean over tokens of the last, the last two, the first and last layer.

"First" is the output of the first layer, not the embeddings (ModelScope's `hidden_states[1]`).
"""

Activation: TypeAlias = Literal["gelu", "gelu_tanh", "relu"]

LONGEST, SHORTEST = 512, 2
DEEPEST = 1000
"""No BERT has so many layers; without a bound a wrong number would fill the memory with names."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a BERT encoder with absolute positions."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int = 512
    token_types: int = 2
    layer_norm_eps: float = 1e-12
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        sizes = ("layers", "hidden", "heads", "intermediate", "vocabulary", "positions")
        for name in (*sizes, "token_types"):
            require_whole(name, getattr(self, name))
        require_whole("layers", self.layers, high=DEEPEST)
        if self.hidden % self.heads:
            raise InputError(f"hidden {self.hidden} cannot be divided among {self.heads} heads")
        if not isinstance(self.layer_norm_eps, float) or not 0 < self.layer_norm_eps < 1:
            raise InputError(f"layer_norm_eps must lie in (0, 1), not {self.layer_norm_eps!r}")
        require_one_of("activation", self.activation, get_args(Activation))

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight by its Hugging Face name, without a `bert.` prefix."""
        hidden, inner = self.hidden, self.intermediate
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocabulary, hidden),
            "embeddings.position_embeddings.weight": (self.positions, hidden),
            "embeddings.token_type_embeddings.weight": (self.token_types, hidden),
            "embeddings.LayerNorm.weight": (hidden,),
            "embeddings.LayerNorm.bias": (hidden,),
        }
        linears = {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (inner, hidden),
            "output.dense": (hidden, inner),
        }
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}"
            for name, shape in linears.items():
                shapes[f"{at}.{name}.weight"] = shape
                shapes[f"{at}.{name}.bias"] = shape[:1]
            for name in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes[f"{at}.{name}.weight"] = shapes[f"{at}.{name}.bias"] = (hidden,)
        return shapes


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How texts become vectors: what is put around them, where they are cut, what is pooled.

    A prefix is text before the text (ModelScope's `boq`, `bod`). A suffix is one token of the
    vocabulary (`eoq`, `eod`), placed as ModelScope does after truncation: behind the final [SEP]
    if the sequence is shorter than `max_length`, else in the place of the last token.
    `max_length` counts every token, [CLS], [SEP] and suffix included.
    """

    pooling: Pooling = "cls"
    normalize: bool = False
    max_length: int = 128
    query_prefix: str = ""
    passage_prefix: str = ""
    query_suffix: str = ""
    passage_suffix: str = ""

    def __post_init__(self) -> None:
        require_one_of("pooling", self.pooling, get_args(Pooling))
        if not isinstance(self.normalize, bool):
            raise InputError(f"normalize must be true or false, not {self.normalize!r}")
        require_whole("max_length", self.max_length, low=SHORTEST, high=LONGEST)
        for name in ("query_prefix", "passage_prefix", "query_suffix", "passage_suffix"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} must be text, not {type(getattr(self, name)).__name__}")

    def describe(self) -> str:
        """Return it in words: pooling, length, tokens read, and what stands around texts."""
        around = (
            ("before queries", self.query_prefix),
            ("before passages", self.passage_prefix),
            ("behind queries", self.query_suffix),
            ("behind passages", self.passage_suffix),
        )
        length = "unit length" if self.normalize else "raw length"
        said = [self.pooling, length, f"at most {self.max_length} tokens"]
        return ", ".join([*said, *(f"{text!r} {where}" for where, text in around if text)])
