"""What an index is: its kind and options, the model its vectors come from, what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

from corom.checks import require_one_of, require_whole
from corom.errors import ArtifactError, InputError
from corom.models import lasting_name
from corom.words import Cut

if TYPE_CHECKING:
    from corom.encoder import Encoder

Precision: TypeAlias = Literal["fp32", "bf16", "int8", "binary"]
VectorType: TypeAlias = Literal["float32", "float16"]
GraphStorage: TypeAlias = Literal["sq8", "float32"]


@dataclass(frozen=True, kw_only=True)
class ExactOptions:
    """Compare with every passage; `precision` is that of the first pass.

    The best of the first pass are scored again in fp32, so the scores are exact; what a first
    pass of less than fp32 may cost is a passage it overlooks. Of `int8` and `binary` vectors a
    copy of 1 byte or 1 bit per number is kept and read instead of the vectors themselves.
    """

    kind: ClassVar[str] = "exact"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        require_one_of("precision", self.precision, get_args(Precision))


@dataclass(frozen=True, kw_only=True)
class HnswOptions:
    """A graph of near neighbours (faiss HNSW); what it finds is scored again in fp32.

    `links` per passage and the `build_effort` decide how good the graph is and how long building
    takes; `search_effort` trades speed for recall at search time. `storage` is how the graph
    holds the vectors: in 1 byte per number or in 4.
    """

    kind: ClassVar[str] = "hnsw"
    links: int = 16
    build_effort: int = 200
    search_effort: int = 64
    storage: GraphStorage = "sq8"

    def __post_init__(self) -> None:
        require_whole("links", self.links, low=2)
        require_whole("build_effort", self.build_effort)
        require_whole("search_effort", self.search_effort)
        require_one_of("storage", self.storage, get_args(GraphStorage))


@dataclass(frozen=True, kw_only=True)
class IvfPqOptions:
    """Lists of passages around centres, vectors in a few bytes (faiss IVF-PQ), scored again.

    `lists` 0 chooses 4 * sqrt(passages). `bytes_per_vector` must divide the dimension. `probes`
    lists are searched; `candidates` times k passages are scored again in fp32.
    """

    kind: ClassVar[str] = "ivfpq"
    lists: int = 0
    bytes_per_vector: int = 64
    probes: int = 16
    candidates: int = 10

    def __post_init__(self) -> None:
        require_whole("lists", self.lists, low=0)
        for name in ("bytes_per_vector", "probes", "candidates"):
            require_whole(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class BM25Options:
    """Words in common, weighed by BM25 (k1 1.2, b 0.75); `cut` says what a word is."""

    kind: ClassVar[str] = "bm25"
    cut: Cut = "words"

    def __post_init__(self) -> None:
        require_one_of("cut", self.cut, get_args(Cut))


Options: TypeAlias = ExactOptions | HnswOptions | IvfPqOptions | BM25Options
# What a filter is written with (index/where.py), and what separates the names of columns.
_SIGNS = "=<>,"
_OPTIONS: dict[str, type[Options]] = {kind.kind: kind for kind in get_args(Options)}


@dataclass(frozen=True, kw_only=True)
class IndexSpec:
    """Everything that must agree for an index to be resumed, and mostly for it to be searched."""

    options: Options
    dim: int = 0
    """numbers per vector; 0 for words"""
    fingerprint: str = ""
    """of the encoder: weights, pooling, tokenizer, length"""
    normalized: bool = False
    """whether the vectors were scaled to length 1"""
    source: str = ""
    """checksum of the passages: `corom.corpus.CorpusChecksum`"""
    model: str = ""
    """the name the encoder was loaded by, for whoever searches"""
    vector_type: VectorType = "float32"
    """how vectors are stored; float16 takes half the room"""
    part_tokens: int = 0
    """texts were cut into parts of at most so many tokens; 0: they were not"""
    whole_share: float = 0.0
    """of the whole text's vector in that of each of its parts; the part's own is the rest"""
    keep: Sequence[str] = ()
    """the columns kept beside id, title and text, to be shown and to filter by"""

    @classmethod
    def for_encoder(
        cls,
        encoder: Encoder,
        options: Options | None = None,
        **others: Any,  # noqa: ANN401 - fields, each of its type
    ) -> IndexSpec:
        """Return the spec of an index of what `encoder.encode_passages` returns.

        `options` default to exact search in fp32; `others` are further fields, and those that
        shall not be the encoder's.
        """
        own = {
            "dim": encoder.dim,
            "fingerprint": encoder.fingerprint,
            "normalized": encoder.encoding.normalize,
            "model": lasting_name(encoder.name),
        }
        return cls(options=options or ExactOptions(), **{**own, **others})

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 0 or self.is_words == bool(self.dim):
            wanted = "0 for bm25" if self.is_words else "1 or more"
            raise InputError(f"dim is {self.dim!r}; it must be {wanted}")
        require_one_of("vector_type", self.vector_type, get_args(VectorType))
        require_whole("part_tokens", self.part_tokens, low=0)
        if not 0 <= self.whole_share < 1:
            raise InputError(f"whole_share is {self.whole_share!r}; it must be from 0 to below 1")
        if self.whole_share and (self.is_words or not self.part_tokens):
            raise InputError("whole_share is for vectors of parts: it needs part_tokens, no bm25")
        check_columns(self.keep)
        object.__setattr__(self, "keep", tuple(self.keep))  # equal however they were given
        if isinstance(self.options, IvfPqOptions) and self.dim % self.options.bytes_per_vector:
            raise InputError(
                f"bytes_per_vector {self.options.bytes_per_vector} does not divide dim {self.dim}"
            )

    @property
    def is_words(self) -> bool:
        """Whether it is of words; if not, of vectors."""
        return isinstance(self.options, BM25Options)

    @property
    def scan(self) -> Precision:
        """What is read first where every passage is compared with a query."""
        return self.options.precision if isinstance(self.options, ExactOptions) else "fp32"

    @property
    def is_unit(self) -> bool:
        """Whether all vectors have length 1: those of parts with a share of the whole have not."""
        return self.normalized and not self.whole_share

    def as_json(self) -> dict[str, Any]:
        """Return a value `from_json` turns back into this."""
        value = {**asdict(self), "options": {"kind": self.options.kind, **asdict(self.options)}}
        if not self.keep:  # earlier versions of corom do not know it
            del value["keep"]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> IndexSpec:
        """Return what `as_json` wrote; raise ArtifactError for anything else."""
        try:
            options = dict(value["options"])
            kind = _OPTIONS[options.pop("kind")]
            return cls(**{**value, "options": kind(**options)})
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"the manifest describes an index this version cannot read ({error}); "
                "use the version of corom that made it, or make it again"
            ) from None


def differences(wanted: object, found: object) -> list[str]:
    """Return `name: wanted != found` for every field of two specs of one class that differs.

    Another name of the same model is no difference: that would be the fingerprint's.
    """
    values, others = vars(wanted), vars(found)
    return [
        f"{name}: {value!r} != {others[name]!r}"
        for name, value in values.items()
        if value != others[name] and name != "model"
    ]


def check_columns(names: Sequence[str]) -> None:
    """Raise InputError for names of columns that cannot be kept beside id, title and text."""
    if isinstance(names, str):
        raise InputError("the columns to keep came as one str; give a list of them")
    for name in names:
        if not isinstance(name, str) or not name.strip() or set(name) & set(_SIGNS):
            raise InputError(f"column {name!r} cannot be kept: a name is text without {_SIGNS}")
        if name in ("id", "title", "text"):
            raise InputError(f"column {name!r} is kept anyway; name others")
    if len(set(names)) < len(names):
        raise InputError("a column is named twice; name each once")
