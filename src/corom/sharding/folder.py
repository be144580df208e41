"""A finished folder of vectors: its manifest, its shards, and the passages they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from corom.errors import ArtifactError
from corom.files import MANIFEST, check_manifest, read_json, read_object, write_json
from corom.records import Passage
from corom.sharding.plan import Plan, plan_json, plan_of_json
from corom.sharding.shards import Receipt, read_shard
from corom.sharding.spec import ShardSpec
from corom.vectors import Vectors

FORMAT = 2


class VectorShard(NamedTuple):
    """Some thousand passages by their ids, with their vectors, `(n, dim) float32`."""

    ids: list[str]
    vectors: Vectors


class ShardedVectors:
    """The vectors of a corpus, in the order of the corpus; made by `encode_shards`."""

    def __init__(
        self, folder: Path, plan: Plan, spec: ShardSpec, *, names: Sequence[Sequence[str]]
    ) -> None:
        self.folder, self.plan, self.spec = folder, plan, spec
        self._names = names

    def __len__(self) -> int:
        return self.plan.rows

    @property
    def source(self) -> str:
        """The checksum of all passages: what tells one corpus from another."""
        return self.plan.checksum

    def shards(self) -> Iterator[VectorShard]:
        """Yield every shard; vectors kept in float16 or int8 come back as float32."""
        for names in self._names:
            yield VectorShard(*read_shard(self.folder, names, dim=self.spec.dim))

    def with_passages(self, *, skip: int = 0) -> Iterator[tuple[list[Passage], Vectors]]:
        """Yield every shard with its passages, read again from where they were encoded from.

        Without the first `skip` passages; shards that lie before them are not read. Raises
        ArtifactError if the passages are no longer there as they were.
        """
        for task, names in zip(self.plan.tasks, self._names, strict=True):
            if skip >= task.rows:
                skip -= task.rows
                continue
            ids, vectors = read_shard(self.folder, names, dim=self.spec.dim)
            passages = self.plan.passages(task)
            if [passage.id for passage in passages] != ids:
                raise ArtifactError(f"shard {task.number} of {self.folder} has other ids")
            yield passages[skip:], vectors[skip:]
            skip = 0


def write_vectors_manifest(
    folder: Path, plan: Plan, spec: ShardSpec, receipts: Sequence[Receipt]
) -> None:
    """Write the manifest that makes the folder finished."""
    write_json(
        folder / MANIFEST,
        {
            "corom": "vectors",
            "format": FORMAT,
            "spec": spec.as_json(),
            "rows": plan.rows,
            **plan_json(plan),
            "shards": [sorted(receipt.files) for receipt in receipts],
            "files": {n: entry for receipt in receipts for n, entry in receipt.files.items()},
        },
    )


def holds_vectors(folder: Path) -> bool:
    """Whether a folder holds finished vectors (and not, say, an index)."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return False
    value = read_json(path)
    return isinstance(value, dict) and value.get("corom") == "vectors"


def open_shards(folder: Path, *, deep: bool = True) -> ShardedVectors:
    """Return the vectors in a finished folder.

    `deep` compares every file's checksum (about 1 s per GB), False sizes only. Raises
    ArtifactError for a folder that is unfinished, damaged or holds something else.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"{folder} holds no finished vectors; run the command that makes them again: it goes "
            "on where it stopped"
        )
    value = read_object(path)
    if value.get("corom") != "vectors":
        raise ArtifactError(f"{folder} holds no vectors of corom encode")
    if value.get("format") != FORMAT:
        raise ArtifactError(
            f"{folder} has format {value.get('format')!r}, this version of corom reads {FORMAT}"
        )
    check_manifest(folder, deep=deep)
    plan, names = plan_of_json(value, path=path), value.get("shards")
    if not isinstance(names, list) or len(names) != len(plan.tasks):
        raise ArtifactError(
            f"{path} is damaged: it does not name the files of {len(plan.tasks)} shards; run the "
            "command that made the vectors again, into a new folder"
        )
    return ShardedVectors(folder, plan, ShardSpec.from_json(value.get("spec")), names=names)
