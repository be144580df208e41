"""Index and queries in, figures of one ranking out, some queries at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from corom.metrics import Evaluation, evaluate_run, means_of
from corom.readers.writing import write_lines
from corom.records import Hit, Qrel, Query, Run
from corom.runs import trec_lines

# The hits held at once: each takes about 500 bytes while it is measured.
_HITS = 1 << 20


class PassageIndex(Protocol):
    """Passages that can be searched."""

    def __len__(self) -> int: ...

    def search(self, queries: Sequence[Query], depth: int, /) -> list[list[Hit]]:
        """Return up to `depth` passages of each query, by the one ranking rule."""


@dataclass(frozen=True)
class Indexed:
    """So many passages, and the function that searches them: a PassageIndex."""

    size: int
    search: Callable[[Sequence[Query], int], list[list[Hit]]]

    def __len__(self) -> int:
        return self.size


class Measured(NamedTuple):
    """What `measure` returns: the figures, and the seconds that searching took."""

    evaluation: Evaluation
    seconds: float


def measure(
    index: PassageIndex,
    queries: Iterable[Query],
    *,
    qrels: Iterable[Qrel],
    measures: Sequence[str],
    depth: int,
    file: Path | None,
    tag: str,
) -> Measured:
    """Return how well the index ranks what the qrels judge relevant, as `evaluate_run` says.

    Its queries are in the order given, those that are judged only last. With `file`, the ranking is
    written there as a TREC run with this tag. Memory does not grow with the queries.
    """
    judged: dict[str, list[Qrel]] = {}
    for qrel in qrels:
        judged.setdefault(qrel.query_id, []).append(qrel)
    left = {q: rows for q, rows in judged.items() if any(row.grade >= 1 for row in rows)}
    excluded = len(judged) - len(left)
    parts: list[Evaluation] = []
    seconds, ignored = 0.0, 0

    def rankings() -> Iterator[Run]:
        nonlocal seconds, ignored
        for block in blocks(queries, depth):
            started = time.perf_counter()
            hits = index.search(block, depth)
            seconds += time.perf_counter() - started
            ignored += sum(query.id not in judged for query in block)
            # A query for which nothing was found is none of the run, as in a file.
            run = {query.id: found for query, found in zip(block, hits, strict=True) if found}
            if rows := [row for query in block for row in left.pop(query.id, ())]:
                parts.append(evaluate_run(run, rows, measures=measures))
            yield run

    if file is None:
        deque(rankings(), maxlen=0)
    else:
        write_lines(file, (line for run in rankings() for line in trec_lines(run, tag=tag)))
    if left:  # judged, but no query of the data set: missing from every run
        rows = [row for each in left.values() for row in each]
        parts.append(evaluate_run({}, rows, measures=measures))
    return Measured(_joined(parts, measures, excluded=excluded, ignored=ignored), seconds)


def _joined(
    parts: Iterable[Evaluation], measures: Sequence[str], *, excluded: int, ignored: int
) -> Evaluation:
    parts = list(parts)
    per_query = {query: values for part in parts for query, values in part.per_query.items()}
    return Evaluation(
        means=means_of(per_query, measures),
        per_query=per_query,
        missing=sum(part.missing for part in parts),
        excluded=excluded,
        ignored=ignored,
    )


def blocks(queries: Iterable[Query], depth: int) -> Iterator[list[Query]]:
    """Yield the queries, as many at once as have a million hits at this depth."""
    iterator = iter(queries)
    while block := list(islice(iterator, max(1, _HITS // depth))):
        yield block
