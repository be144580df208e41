"""Runs and qrels as files: TREC and MS MARCO, in the one rank order.

A TREC run (`query Q0 passage rank score tag`) is read by its scores, never by its ranks: that is
what every tool does, each with its own way of breaking ties. So a run is written, unless you ask
for the exact scores, with scores that fall strictly even when read as 32-bit floats: a score that
does not is lowered by the least step below the one before. No tool then has a tie to break, and
all of them measure the order that corom ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from corom.errors import InputError
from corom.ranking import rank_hits
from corom.readers.fields import require_grade, split_columns
from corom.readers.lines import BadRecordError, numbered_lines, read_records, require_unique
from corom.readers.tsv import read_qrels
from corom.readers.writing import write_lines
from corom.records import Hit, Qrel, Run

__all__ = [
    "falling_scores",
    "read_ms_marco_run",
    "read_qrels",
    "read_run",
    "read_trec_run",
    "trec_lines",
    "write_ms_marco_run",
    "write_qrels",
    "write_trec_run",
]

_TREC = ("query", "Q0", "passage", "rank", "score", "tag")
# Near zero the next float is a subnormal number, which some tools read as zero.
_LEAST_STEP = np.float32(1e-30)


def falling_scores(scores: Sequence[float]) -> list[float]:
    """Return scores, given in rank order, such that each is below the one before as float32.

    A score that already is stays as it is, to the last bit. Raises InputError for a score that is
    NaN, infinite or beyond float32, and for scores that rise.
    """
    exact = np.asarray(scores, dtype=np.float64)
    with np.errstate(over="ignore"):
        singles = exact.astype(np.float32)
    if not np.isfinite(singles).all():
        raise InputError("a score is not a finite 32-bit number; runs need such scores")
    if (np.diff(exact) > 0).any():
        raise InputError("scores rise; give them in rank order")
    fallen: list[float] = exact.tolist()
    for place in range(1, len(fallen)):
        last = singles[place - 1]
        if singles[place] >= last:
            singles[place] = last - max(np.spacing(abs(last)), _LEAST_STEP)
            fallen[place] = float(singles[place])
    return fallen


def write_trec_run(
    path: Path | str,
    run: Run,
    *,
    tag: str = "corom",
    scores: Literal["falling", "exact"] = "falling",
) -> None:
    """Write a run as `query Q0 passage rank score tag`, ranked by the one rule, best first.

    `scores="exact"` writes every score as it is, so that it reads back equal; other tools may
    then order ties otherwise. A query without hits leaves no line. Raises InputError for an id
    with white space, a score that is not finite, and a passage that occurs twice for a query.
    """
    write_lines(path, trec_lines(run, tag=tag, scores=scores))


def trec_lines(
    run: Run, *, tag: str = "corom", scores: Literal["falling", "exact"] = "falling"
) -> Iterator[str]:
    """Yield the lines of a TREC file, for a run that is written piece by piece."""
    exact = scores == "exact"
    require_word(tag)
    for query, hits in _ranked(run):
        own = [float(hit.score) for hit in hits]
        fallen = falling_scores(own)
        for rank, (hit, score) in enumerate(zip(hits, own if exact else fallen, strict=True), 1):
            yield f"{query} Q0 {hit.id} {rank} {score!r} {tag}"


def read_trec_run(path: Path | str) -> dict[str, list[Hit]]:
    """Return the run in a TREC file, ranked by its scores and the one rule; ranks are not read.

    Raises FormatError, with file and line, for a wrong number of columns, a score that is no
    finite number and a passage that occurs twice for a query. Takes about 250 bytes a line.
    """

    def parse(line: str) -> tuple[str, Hit]:
        query, _, passage, _, score, _ = split_columns(line, *_TREC, by=None)
        return query, Hit(passage, _finite(score))

    return _read_run(path, parse)


def write_ms_marco_run(path: Path | str, run: Run) -> None:
    """Write a run as query, tab, passage, tab, rank, ranked by the one rule; scores are lost."""
    write_lines(
        path,
        (
            f"{query}\t{hit.id}\t{rank}"
            for query, hits in _ranked(run)
            for rank, hit in enumerate(hits, 1)
        ),
    )


def read_ms_marco_run(path: Path | str) -> dict[str, list[Hit]]:
    """Return the run in an MS MARCO file; the score of a hit is its rank, negated.

    Raises FormatError, with file and line, for a wrong number of columns, a rank that is no number
    from 1 and a passage or a rank that occurs twice for a query.
    """
    unique = require_unique()

    def parse(line: str) -> tuple[str, Hit]:
        query, passage, given = split_columns(line, "query", "passage", "rank", by=None)
        rank = require_grade(given, name="rank")
        if rank < 1:
            raise BadRecordError("bad rank", "has a rank below 1")
        unique((query, rank))
        return query, Hit(passage, -float(rank))

    return _read_run(path, parse)


def read_run(path: Path | str) -> dict[str, list[Hit]]:
    """Return the run in a TREC or an MS MARCO file: three columns in the first line are MS MARCO's.

    Raises what `read_trec_run` and `read_ms_marco_run` raise.
    """
    first = next((line for _, _, line in numbered_lines(path)), b"")
    return read_ms_marco_run(path) if len(first.split()) == 3 else read_trec_run(path)


def write_qrels(path: Path | str, qrels: Iterable[Qrel]) -> None:
    """Write judgements as `query 0 passage grade`, separated by tabs, in the order given."""
    write_lines(
        path,
        (
            f"{require_word(qrel.query_id)}\t0\t{require_word(qrel.passage_id)}\t{qrel.grade}"
            for qrel in qrels
        ),
    )


def _ranked(run: Run) -> Iterator[tuple[str, list[Hit]]]:
    for query, hits in run.items():
        ranked = rank_hits(hits)
        for id_ in (query, *(hit.id for hit in ranked)):
            require_word(id_)
        yield query, ranked


def _read_run(path: Path | str, parse: Callable[[str], tuple[str, Hit]]) -> dict[str, list[Hit]]:
    found: dict[str, dict[str, Hit]] = {}

    def add(line: str) -> None:
        query, hit = parse(line)
        hits = found.setdefault(query, {})
        if hit.id in hits:
            raise BadRecordError("duplicate", "repeats a passage of its query")
        hits[hit.id] = hit

    for _ in read_records([path], add, skips=None):
        pass
    return {query: rank_hits(hits.values()) for query, hits in found.items()}


def _finite(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise BadRecordError("bad score", "has a score that is not a finite number")
    return score


def require_word(id_: str) -> str:
    """Return an id that a run or qrels can hold; InputError if it is empty or has white space."""
    if not id_ or id_.split() != [id_]:
        raise InputError(f"{id_!r} cannot stand in a run or qrels: it is empty or has white space")
    return id_
