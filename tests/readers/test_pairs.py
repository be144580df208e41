"""Training pairs, plain and graded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import FormatError, InputError
from corom.readers import Pair, SkipReport, read_pairs, write_pairs
from corom.readers.lines import BadRecordError
from readers.files import VISIBLE, left_out

PAIRS = [
    Pair("感冒怎么办", "多喝水。", "answer", "toyhom", ("少吃盐。", "早睡。")),
    Pair("头痛", "头疼", label=0),
    Pair("a", "b"),
]


def test_pairs_survive_and_empty_fields_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, PAIRS)
    assert list(read_pairs(path)) == PAIRS
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines[2] == {"query": "a", "positive": "b"}
    assert lines[1] == {"query": "头痛", "positive": "头疼", "label": 0}


@pytest.mark.parametrize("name", ["dev.tsv", "DEV.TSV"])
def test_question_matching_tables_are_pairs_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("头痛\t头疼\t2\n头痛\t脚痛\t0\n", encoding="utf-8")
    assert list(read_pairs(path)) == [Pair("头痛", "头疼", label=2), Pair("头痛", "脚痛", label=0)]
    path.write_text("头痛\t头疼\n", encoding="utf-8")
    assert list(read_pairs(path)) == [Pair("头痛", "头疼")]
    for line, columns in (("头痛\n", 1), ("头痛\t头疼\t2\t3\n", 4)):
        path.write_text(line, encoding="utf-8")
        with pytest.raises(FormatError, match=f"{columns} columns instead of 3"):
            list(read_pairs(path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"query": ""}, "empty text"),
        ({"positive": None}, "bad field"),
        ({"label": "1"}, "bad grade"),
        ({"label": True}, "bad grade"),
        ({"label": 0.5}, "bad grade"),
        ({"negatives": "x"}, "bad field"),
        ({"negatives": [1]}, "bad field"),
        ({"negatives": [" "]}, "empty text"),
        ({"kind": 1}, "bad field"),
        ({"negative": "吃药"}, "unknown field"),
        ({"neg": ["吃药"]}, "unknown field"),
    ],
)
def test_bad_pairs(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = tmp_path / "a.jsonl"
    good = {"query": "头痛", "positive": "休息"}
    path.write_text(f"{json.dumps(good)}\n{json.dumps({**good, **change})}\n")
    assert len(left_out(read_pairs, path, line=2, reason=reason)) == 1


def test_a_pair_may_be_refused_by_who_reads_it(tmp_path: Path) -> None:
    def labelled(pair: Pair) -> None:
        if pair.label is None:
            raise BadRecordError("no label", "has no label")

    path = tmp_path / "pairs.jsonl"
    write_pairs(path, PAIRS)
    with pytest.raises(FormatError, match="line 1: has no label"):
        list(read_pairs(path, require=labelled))
    skips = SkipReport()
    assert list(read_pairs(path, require=labelled, skips=skips)) == [PAIRS[1]]
    assert skips.counts == {"no label": 2}


@given(
    st.lists(
        st.builds(
            Pair,
            VISIBLE,
            VISIBLE,
            VISIBLE | st.just(""),
            VISIBLE | st.just(""),
            st.lists(VISIBLE, max_size=3).map(tuple),
            st.none() | st.integers(-5, 5),
        ),
        max_size=4,
    )
)
def test_any_pair_survives(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    write_pairs(path, pairs)
    assert list(read_pairs(path)) == pairs


def test_csv_is_no_file_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("text,text\n头痛,头疼\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"read from \.tsv"):
        read_pairs(str(path))
