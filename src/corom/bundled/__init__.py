"""Medical texts inside the package: for the demo, the page, the calibration of int8, the docs.

Written for corom (Apache-2.0): encyclopaedic, textbook, drug-label and doctor's-answer passages,
and questions as patients ask them with the passages that answer. They show what retrieval does;
they are not medical advice and too few to measure a model by.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from corom.records import Passage, Qrel, Query


@cache
def passages() -> tuple[Passage, ...]:
    """Return the passages, with ids "1", "2", …; some have a title."""
    return tuple(
        Passage(record["id"], record["text"], record.get("title", ""))
        for record in _records("medical.jsonl")
    )


@cache
def queries() -> tuple[Query, ...]:
    """Return the questions, with ids "q1", "q2", …."""
    return tuple(Query(record["id"], record["text"]) for record in _records("questions.jsonl"))


@cache
def typed() -> tuple[str, ...]:
    """Return texts in the many ways people and machines write: for calibration, not to be shown.

    Half-width punctuation, machine-translated style, traditional characters, laboratory values,
    tables, prescriptions, Latin, forms, runs of signs.
    """
    text = files(__name__).joinpath("typed.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


@cache
def qrels() -> tuple[Qrel, ...]:
    """Return which passages answer which question, all of grade 1."""
    return tuple(
        Qrel(record["id"], passage_id, 1)
        for record in _records("questions.jsonl")
        for passage_id in record["relevant"]
    )


def _records(name: str) -> list[dict[str, Any]]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
