"""What a folder of vectors is: everything that decides its bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from corom.checks import require_one_of, require_whole
from corom.errors import ArtifactError

Container: TypeAlias = Literal["npy", "parquet"]
ShardType: TypeAlias = Literal["float32", "float16", "int8"]

ROWS = 16384
"""Passages per shard unless said otherwise: what a kill costs a worker at most."""


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """All that must agree for an encoding to go on."""

    model: str
    """the name the encoder is loaded by, here and by workers elsewhere"""
    fingerprint: str
    engine: str
    precision: str
    """of the arithmetic, never `auto`: another chip would choose otherwise"""
    max_length: int
    dim: int
    """numbers per vector"""
    normalized: bool
    side: Literal["query", "passage"] = "passage"
    threads: int = 1
    """of each worker: sums over several threads may be added up in another order"""
    container: Container = "npy"
    vector_type: ShardType = "float32"
    rows: int = ROWS
    """passages per shard; the last one of each file has fewer"""
    corom: str = ""
    """the version that encodes"""

    def __post_init__(self) -> None:
        for name, allowed in (("container", Container), ("vector_type", ShardType)):
            require_one_of(name, getattr(self, name), get_args(allowed))
        require_one_of("side", self.side, ("query", "passage"))
        for name in ("rows", "threads", "dim"):
            require_whole(name, getattr(self, name))

    def as_json(self) -> dict[str, Any]:
        """Return a value `from_json` turns back into this."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> ShardSpec:  # noqa: ANN401 - whatever a file holds
        """Return what `as_json` wrote; raise ArtifactError for anything else."""
        try:
            return cls(**value)
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                f"the folder describes vectors this version cannot read ({error}); use the "
                "version of corom that made them, or encode again"
            ) from None
