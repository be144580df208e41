"""A dev set of one's own: some queries and their answers held back, the rest to train on.

    train/NAME.jsonl   the records of each input that are not held back
    dev/               a data set in BEIR's form: every passage of the data, the queries held back
    report.json        made of what, and how much

Records that share a query or an answer stay together: what the dev set asks, or what answers it,
is never learned. An answer of the dev set may still stand among the negatives of other queries.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corom.errors import InputError
from corom.readers import SkipReport
from corom.readers.writing import write_lines
from corom.training.examples import text_key
from corom.training.inputs import Record, output_names, records_of, write_records
from corom.training.mining_settings import HoldoutSettings
from corom.training.provenance import checksums, made_once
from corom.training.rows import row_of
from corom.training.tables import as_table

TRAIN, DEV = "train", "dev"


class HeldOut(NamedTuple):
    """Where the two halves are, and how many there are of each."""

    train: tuple[Path, ...]
    dev: Path
    counts: dict[str, int]


def hold_out(settings: HoldoutSettings) -> HeldOut:
    """Write the folder `settings.output` and return what is in it.

    It appears whole or not at all; when it is there already, made from the same data by the same
    settings, it is left. All records are in memory. Raises InputError where nothing can be held
    back, and FormatError for data that cannot be read.
    """
    output, names = Path(settings.output), output_names(settings.data)

    def write(draft: Path) -> dict[str, Any]:
        skips, lost = SkipReport(), Counter[str]()
        read = {
            name: list(records_of(path, settings, skips=skips, lost=lost))
            for name, path in names.items()
        }
        records = [record for some in read.values() for record in some]
        held, place = _held(records, settings), 0
        for name, some in read.items():
            rest = (one for at, one in enumerate(some, place) if not held[at])
            write_records(draft / TRAIN / name, rest, like=names[name])
            place += len(some)
        dev = [record for at, record in enumerate(records) if held[at]]
        counts = _write_dev(draft / DEV, dev, records)
        counts["training records"] = len(records) - len(dev)
        return {"report": counts | skips.counts | lost}

    made_of = {"settings": as_table(settings), "inputs": checksums(settings.data)}
    counts = made_once(output, made_of, write)["report"]
    return HeldOut(tuple(output / TRAIN / name for name in names), output / DEV, counts)


def _held(records: Sequence[Record], settings: HoldoutSettings) -> list[bool]:
    """Return whether each record is held back: whole sets of connected ones, drawn at random."""
    sets = _connected(records)
    queries: dict[int, set[int]] = defaultdict(set)
    for name, record in zip(sets, records, strict=True):
        queries[name].add(text_key(record.query))
    drawn, left = set[int](), settings.queries
    order = np.random.default_rng((settings.seed, 5)).permutation(len(queries)).tolist()
    names = list(queries)
    for name in (names[place] for place in order):
        if len(queries[name]) <= left:
            drawn.add(name)
            left -= len(queries[name])
    if not drawn or len(drawn) == len(queries):
        raise InputError(
            f"{len(records)} records share queries and answers so that {len(queries)} sets can be "
            f"told apart, and none or all of them would be the {settings.queries} queries of the "
            "dev set; ask for another number of queries"
        )
    return [name in drawn for name in sets]


def _connected(records: Sequence[Record]) -> list[int]:
    """Return, for each record, the first of all that are tied to it by queries and answers."""
    parents = list(range(len(records)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    first: dict[tuple[bool, int], int] = {}
    for place, record in enumerate(records):
        row = row_of(record, source="")
        texts = [(True, text_key(row.query)), *((False, text_key(one)) for one in row.positives)]
        for text in texts:
            other = root(first.setdefault(text, place))
            here = root(place)
            parents[max(other, here)] = min(other, here)
    return [root(place) for place in range(len(records))]


def _write_dev(folder: Path, dev: Sequence[Record], records: Sequence[Record]) -> dict[str, int]:
    """Write a data set in BEIR's form and return how many queries and passages it has."""
    passages: dict[str, str] = {}
    for record in records:
        row = row_of(record, source="")
        for text in (*row.positives, *row.negatives):
            passages.setdefault(text.strip(), f"p{len(passages) + 1}")
    queries: dict[str, str] = {}
    judged: dict[tuple[str, str], None] = {}
    for record in dev:
        row = row_of(record, source="")
        query = queries.setdefault(row.query.strip(), f"q{len(queries) + 1}")
        judged |= {(query, passages[text.strip()]): None for text in row.positives}
    write_lines(folder / "corpus.jsonl", _records(passages))
    write_lines(folder / "queries.jsonl", _records(queries))
    lines = (f"{query}\t{passage}\t1" for query, passage in judged)
    write_lines(folder / "qrels" / "dev.tsv", ["query-id\tcorpus-id\tscore", *lines])
    return {"dev queries": len(queries), "dev passages": len(passages)}


def _records(texts: dict[str, str]) -> list[str]:
    return [
        json.dumps({"_id": id_, "text": text}, ensure_ascii=False) for text, id_ in texts.items()
    ]
