from __future__ import annotations

from collections.abc import Callable

import pytest

from corom.errors import InputError
from corom.evaluation import Parted
from corom.records import Hit, Passage, Query
from corom.splitting import Splitter
from evaluation.retrievers import Scored

LONG = "糖尿病要注意饮食，休息。高血压患者要治疗，检查。头痛发热，咳嗽。"
PASSAGES = [Passage("9", "糖"), Passage("10", LONG), Passage("a", LONG, "高血压")]


def counting() -> Scored:
    """Scores a passage by how often the query is in it."""
    return Scored("counting", lambda query, passage: passage.content.count(query.text))


@pytest.fixture
def splitter(tiny_checkpoint: Callable) -> Splitter:
    return Splitter(tiny_checkpoint(), max_tokens=16)


def test_the_best_part_counts(splitter: Splitter) -> None:
    first = counting()
    row = Parted(first, splitter)
    index = row.index(iter(PASSAGES))
    assert len(index) == 3 < len(first.passages)
    found = index.search([Query("1", "高血压"), Query("2", "糖")], 3)
    assert found == [
        [Hit("a", 2), Hit("10", 1), Hit("9", 0)],
        [Hit("9", 1), Hit("10", 1), Hit("a", 1)],
    ]
    assert index.search([Query("1", "高血压")], 1) == [[Hit("a", 2)]]
    assert index.search([], 1) == []
    assert row.name == "counting, parts of 16"
    assert row.settings == {"scored": "counting", "part_tokens": 16, "part_overlap": 0}


def test_ids_like_those_of_parts_are_refused(splitter: Splitter) -> None:
    with pytest.raises(InputError, match="ends like that of a part"):
        Parted(counting(), splitter).index([Passage("a#1", "糖")])
