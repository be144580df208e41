"""Which passages make which shard: decided once, by reading everything once.

Shards follow the order of the files and never cross from one into the next, so a plan depends on
the files and the rows per shard alone. Each task carries a checksum of its passages: a worker that
finds others stops, because the input was changed meanwhile.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corom.corpus import CorpusChecksum
from corom.errors import ArtifactError, FormatError
from corom.files import read_object, write_json
from corom.records import Passage
from corom.sharding.sources import Place, Placed, Source, read_from


class ShardTask(NamedTuple):
    """The passages of one shard."""

    number: int
    source: int
    """position among the plan's sources"""
    start: Place
    rows: int
    digest: str
    """of the ids, texts and titles"""


@dataclass(frozen=True)
class Plan:
    """The sources and the shards they are cut into."""

    sources: tuple[Source, ...]
    tasks: tuple[ShardTask, ...]
    checksum: str
    """of all passages: what tells one corpus from another"""

    @property
    def rows(self) -> int:
        """Passages in all."""
        return sum(task.rows for task in self.tasks)

    def passages(self, task: ShardTask) -> list[Passage]:
        """Return the passages of a shard; ArtifactError if they are no longer those planned."""
        source = self.sources[task.source]
        found = [each.passage for each in islice(read_from(source, task.start), task.rows)]
        if digest(found) != task.digest:
            raise ArtifactError(
                f"{source.url} was changed since the shards were planned (shard {task.number}, "
                f"from line {task.start.line}); bring it back, or encode into another folder"
            )
        return found


def make_plan(
    sources: Sequence[Source], *, rows: int, progress: Callable[[int], None] | None = None
) -> Plan:
    """Return shards of up to `rows` passages, having read and checked every record.

    8 bytes per passage are in memory; about 100,000 passages a second. `progress` is told how many
    were read. Raises FormatError with file and line for a record that cannot be used and for an id
    that occurs twice.
    """
    tasks: list[ShardTask] = []
    hashes, corpus = array("q"), CorpusChecksum()
    for position, source in enumerate(sources):
        for part in _parts(read_from(source), rows):
            passages = [each.passage for each in part]
            hashes.extend(hash(passage.id) for passage in passages)
            corpus.add(passages)
            tasks.append(
                ShardTask(len(tasks), position, part[0].start, len(part), digest(passages))
            )
            if progress:
                progress(len(hashes))
    _require_unique(hashes, sources)
    return Plan(tuple(sources), tuple(tasks), corpus.hexdigest())


def digest(passages: Iterable[Passage]) -> str:
    """Return a short checksum of the passages of a shard."""
    return CorpusChecksum(passages).hexdigest()[:24]


def write_plan(plan: Plan, path: Path, *, spec: dict[str, Any]) -> None:
    """Write a plan and what it is for."""
    write_json(path, {"spec": spec, **plan_json(plan)})


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a value that `plan_of_json` turns back into the plan."""
    return {
        "checksum": plan.checksum,
        # What is empty is left out: earlier versions of corom know no `prefix`.
        "sources": [{k: v for k, v in s._asdict().items() if v} for s in plan.sources],
        "tasks": [[*task[:2], *task.start, *task[3:]] for task in plan.tasks],
    }


def plan_of_json(value: dict[str, Any], *, path: Path) -> Plan:
    """Return what `plan_json` made; ArtifactError for anything else."""
    try:
        return Plan(
            tuple(Source(**source) for source in value["sources"]),
            tuple(
                ShardTask(number, source, Place(offset, line), rows, checksum)
                for number, source, offset, line, rows, checksum in value["tasks"]
            ),
            str(value["checksum"]),
        )
    except (KeyError, TypeError, ValueError):
        raise ArtifactError(f"{path} holds no plan of shards; encode into a new folder") from None


def read_plan(path: Path) -> tuple[Plan, Any]:
    """Return a plan and what it is for, as `write_plan` wrote them; ArtifactError if it did not."""
    value = read_object(path)
    return plan_of_json(value, path=path), value.get("spec")


def _parts(placed: Iterator[Placed], rows: int) -> Iterator[list[Placed]]:
    while part := list(islice(placed, rows)):
        yield part


def _require_unique(hashes: array[int], sources: Sequence[Source]) -> None:
    found = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
    repeated = set(found[1:][found[1:] == found[:-1]].tolist())
    if not repeated:
        return
    # Rarely, two ids share a hash: the ids themselves decide.
    seen: dict[str, str] = {}
    for source in sources:
        for passage, start in read_from(source):
            if hash(passage.id) not in repeated:
                continue
            here = f"{source.url}, line {start.line}"
            if passage.id in seen:
                raise FormatError(
                    f"repeats the id of {seen[passage.id]}; ids must be unique in the whole corpus",
                    path=source.url,
                    line=start.line,
                )
            seen[passage.id] = here
