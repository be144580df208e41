from __future__ import annotations

import json
from pathlib import Path

import pytest

from corom.corpus import CorpusChecksum
from corom.errors import ArtifactError, FormatError
from corom.records import Passage
from corom.sharding import plan as planning
from corom.sharding.plan import make_plan, read_plan, write_plan
from corom.sharding.sources import find_sources
from sharding.corpora import PASSAGES, write_corpus


def test_shards_do_not_cross_files(tmp_path: Path) -> None:
    write_corpus(tmp_path / "a.jsonl", PASSAGES[:25])
    write_corpus(tmp_path / "b.jsonl", PASSAGES[25:])
    seen: list[int] = []
    plan = make_plan(find_sources(str(tmp_path)), rows=10, progress=seen.append)
    assert [(task.source, task.rows) for task in plan.tasks] == [
        *[(0, 10), (0, 10), (0, 5)],
        *[(1, 10), (1, 5)],
    ]
    assert [p for task in plan.tasks for p in plan.passages(task)] == PASSAGES
    assert plan.rows == seen[-1] == 40
    assert plan.checksum == CorpusChecksum(PASSAGES).hexdigest()


def test_written_and_read(tmp_path: Path) -> None:
    plan = make_plan(find_sources(str(write_corpus(tmp_path / "a.jsonl"))), rows=7)
    write_plan(plan, tmp_path / "plan.json", spec={"a": 1})
    assert read_plan(tmp_path / "plan.json") == (plan, {"a": 1})
    for wrong in ({"spec": {}, "tasks": [[1]]}, {"sources": [], "checksum": ""}):
        (tmp_path / "plan.json").write_text(json.dumps(wrong))
        with pytest.raises(ArtifactError, match="no plan"):
            read_plan(tmp_path / "plan.json")


def test_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    plan = make_plan(find_sources(str(tmp_path / "a.jsonl")), rows=7)
    assert (plan.rows, plan.tasks, plan.checksum) == (0, (), CorpusChecksum().hexdigest())


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "a.jsonl")
    write_corpus(tmp_path / "b.jsonl", [Passage("new", "头痛"), PASSAGES[3]])
    with pytest.raises(
        FormatError, match=r"b\.jsonl, line 2: repeats the id of .*a\.jsonl, line 4"
    ):
        make_plan(find_sources(str(tmp_path)), rows=10)


def test_equal_hashes_are_not_equal_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "hash", len, raising=False)
    write_corpus(tmp_path / "a.jsonl")
    assert make_plan(find_sources(str(tmp_path)), rows=10).rows == 40


def test_changed_passages_are_noticed(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.jsonl")
    plan = make_plan(find_sources(str(path)), rows=10)
    write_corpus(path, [*PASSAGES[:9], Passage("p9", "别的"), *PASSAGES[10:]])
    with pytest.raises(ArtifactError, match=r"changed since .* \(shard 0"):
        plan.passages(plan.tasks[0])
