"""Retrieval that was done elsewhere: the rankings of any system, read from its run file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from corom.errors import InputError
from corom.evaluation.kept import Describing
from corom.evaluation.measure import Indexed
from corom.files import sha256
from corom.records import Hit, Passage, Query
from corom.runs import read_run


class Given:
    """The rankings in a TREC or an MS MARCO file as a retriever, by default with its name."""

    def __init__(self, path: Path, queries: Iterable[Query], *, name: str | None = None) -> None:
        """Read the run, about 250 bytes a line, of these queries; those without hits find nothing.

        Raises InputError for a query that is none of them, and what `read_run` raises.
        """
        self.name, self._path, self._run = name or path.name, path, read_run(path)
        self.settings: Describing = {"run": sha256(path)}
        if lacking := self._run.keys() - {query.id for query in queries}:
            raise InputError(
                f"{path} ranks for {len(lacking):,} queries that the split has not, such as "
                f"{min(lacking)!r}; name the split it is of"
            )

    def index(self, passages: Iterable[Passage]) -> Indexed:
        """Return the run; InputError for a hit that is none of the passages."""
        known = {passage.id for passage in passages}
        if lacking := {hit.id for hits in self._run.values() for hit in hits} - known:
            raise InputError(
                f"{self._path} ranks {len(lacking):,} passages that the data set has not, such as "
                f"{min(lacking)!r}; measure it on the data set it is of"
            )
        return Indexed(len(known), self._first_hits)

    def _first_hits(self, queries: Sequence[Query], depth: int) -> list[list[Hit]]:
        return [self._run.get(query.id, [])[:depth] for query in queries]
