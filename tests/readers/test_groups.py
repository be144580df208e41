"""Training groups, read and written, and the data set they make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import FormatError
from corom.readers import Group, open_dataset, read_groups, write_groups
from corom.records import Passage, Qrel, Query
from readers.files import VISIBLE, left_out

GROUPS = [
    Group("1", "感冒怎么办", (Passage("a", "多喝水。"),), (Passage("b", "少吃盐。", "高血压"),)),
    Group("2", "血压高", (Passage("b", "少吃盐。", "高血压"), Passage("c", "测血压。"))),
]


def test_groups_survive_and_titles_are_written_only_when_there(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl.gz"
    write_groups(path, GROUPS)
    assert list(read_groups(path)) == GROUPS
    write_groups(tmp_path / "plain.jsonl", GROUPS)
    first = json.loads((tmp_path / "plain.jsonl").read_text("utf-8").splitlines()[0])
    assert first == {
        "query_id": "1",
        "query": "感冒怎么办",
        "positive_passages": [{"docid": "a", "text": "多喝水。"}],
        "negative_passages": [{"docid": "b", "title": "高血压", "text": "少吃盐。"}],
    }


def test_dureader_has_numbers_for_ids_and_may_lack_negatives(tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl"
    record = {"query_id": 5, "query": "头痛", "positive_passages": [{"docid": 9, "text": "休息"}]}
    path.write_text(json.dumps(record))
    assert list(read_groups(path)) == [Group("5", "头痛", (Passage("9", "休息"),))]


GOOD = {"query_id": "1", "query": "头痛", "positive_passages": [{"docid": "a", "text": "休息"}]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"query_id": ""}, "empty id"),
        ({"query": " "}, "empty text"),
        ({"query": 5}, "bad field"),
        ({"positive_passages": []}, "missing field"),
        ({"positive_passages": None}, "missing field"),
        ({"positive_passages": {"docid": "a"}}, "bad field"),
        ({"positive_passages": ["头痛"]}, "bad field"),
        ({"positive_passages": [{"docid": "a"}]}, "missing field"),
        ({"negative_passages": [{"text": "a"}]}, "missing field"),
        ({"negative_passages": [{"docid": "a", "text": ""}]}, "empty text"),
    ],
)
def test_bad_groups(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{json.dumps({**GOOD, **change})}\n")
    assert len(left_out(read_groups, path, line=2, reason=reason)) == 1


def test_a_folder_of_groups_is_a_data_set(tmp_path: Path) -> None:
    write_groups(tmp_path / "train.jsonl", GROUPS)
    write_groups(tmp_path / "dev.jsonl.xz", [GROUPS[1], GROUPS[1]])
    (tmp_path / "pairs.jsonl").write_text('{"query": "a", "positive": "b"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    data = open_dataset(tmp_path)
    assert (data.format, data.splits) == ("groups", ("dev", "train"))
    assert data.unused == ("empty.jsonl", "pairs.jsonl")
    assert sorted(p.id for p in data.passages()) == ["a", "b", "c"]
    assert [*data.queries("dev")] == [Query("2", "血压高")]
    assert [*data.qrels("train")][:2] == [Qrel("1", "a", 1), Qrel("1", "b", 0)]


def test_an_id_for_two_passages_is_refused(tmp_path: Path) -> None:
    other = Group("3", "x", (Passage("a", "别的话"),))
    write_groups(tmp_path / "train.jsonl", [*GROUPS, other])
    with pytest.raises(FormatError, match="'a' stands for two"):
        list(open_dataset(tmp_path).passages())


def test_an_id_for_two_queries_is_refused(tmp_path: Path) -> None:
    other = GROUPS[0]._replace(query="别的问题")
    write_groups(tmp_path / "train.jsonl", [*GROUPS, other])
    with pytest.raises(FormatError, match="query_id '1' stands for two"):
        list(open_dataset(tmp_path).queries("train"))


def test_a_passage_is_judged_once_for_a_query(tmp_path: Path) -> None:
    a, b, c, d = (Passage(id_, id_) for id_ in "abcd")
    groups = [
        Group("1", "问", (a,), (b, b, a, d)),
        Group("2", "答", (c,)),
        Group("1", "问", (b,), (c,)),
        Group("1", "问", (c,), (a,)),
    ]
    write_groups(tmp_path / "dev.jsonl", groups)
    data = open_dataset(tmp_path)
    grades = {"a": 1, "b": 1, "d": 0, "c": 1}
    wanted = [Qrel("2", "c", 1), *(Qrel("1", id_, grade) for id_, grade in grades.items())]
    assert list(data.qrels("dev")) == wanted


PASSAGE = st.builds(Passage, VISIBLE, VISIBLE, VISIBLE | st.just(""), fields=st.just({}))
PASSAGES = st.lists(PASSAGE, max_size=3).map(tuple)


@given(st.lists(st.builds(Group, VISIBLE, VISIBLE, PASSAGES.filter(len), PASSAGES), max_size=4))
def test_any_group_survives(tmp_path_factory: pytest.TempPathFactory, groups: list[Group]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    write_groups(path, groups)
    assert list(read_groups(path)) == groups
