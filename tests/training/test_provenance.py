from __future__ import annotations

import json

import pytest

from corom.errors import InputError
from corom.training.provenance import begin, checksums, first_difference, versions
from corom.training.settings import TrainSettings
from corom.training.tables import from_table


def settings(**changes):
    table = {"model": "m", "output": "o", "data": {"train": ["a"]}, **changes}
    return from_table(TrainSettings, table)


def test_a_run_notes_what_made_it_and_is_not_made_otherwise(tmp_path):
    folder = tmp_path / "run"
    begin(folder, settings(), inputs={"a": "1"})
    made = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert made["inputs"] == {"a": "1"}
    assert made["versions"]["python"]
    assert "git" in made
    (folder / "log.jsonl").touch()
    begin(folder, settings(), inputs={"a": "1"})
    with pytest.raises(InputError, match=r"other settings \(run\.seed\)"):
        begin(folder, settings(run={"seed": 1}), inputs={"a": "1"})
    with pytest.raises(InputError, match=r"other inputs \(a\)"):
        begin(folder, settings(), inputs={"a": "2"})


def test_a_run_that_stopped_at_its_data_begins_anew(tmp_path):
    folder = tmp_path / "run"
    begin(folder, settings(), inputs={"a": "1"})
    (folder / "data.json").write_text("{}")
    begin(folder, settings(run={"seed": 1}), inputs={"a": "2"})
    made = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert (made["settings"]["run"]["seed"], made["inputs"]) == (1, {"a": "2"})
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.json").touch()
    with pytest.raises(InputError, match="holds no run"):
        begin(other, settings(), inputs={})


def test_checksums_of_files_and_folders(pairs, dataset, tmp_path):
    found = checksums([str(pairs), str(dataset), str(pairs)])
    assert list(found) == [str(pairs), str(dataset)]
    pairs.write_text(pairs.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert checksums([str(pairs)])[str(pairs)] != found[str(pairs)]
    with pytest.raises(InputError, match="does not exist"):
        checksums([str(tmp_path / "none")])


def test_the_first_difference_is_named():
    one = {"a": {"b": [1, 2], "c": 3}}
    assert first_difference(one, {"a": {"b": [1, 2], "c": 3}}) == ""
    assert first_difference(one, {"a": {"b": [1], "c": 4}}) == "a.b"
    assert first_difference(one, {"a": {"b": [1, 2]}}) == "a.c"
    assert first_difference(None, one) != ""


def test_the_order_of_patterns_counts(tmp_path):
    first, second = {"toy*": 1.0, "*": 0.0}, {"*": 0.0, "toy*": 1.0}
    assert first_difference({"a": first}, {"a": second}) == ""
    for name in ("weights", "pool"):
        one, other = ({"data": {name: table}} for table in (first, second))
        assert first_difference(one, one) == ""
        assert first_difference(one, other) == f"the order of data.{name}"
    data = {"train": ["a"], "weights": first}
    begin(tmp_path / "run", settings(data=data), inputs={})
    (tmp_path / "run" / "log.jsonl").touch()
    begin(tmp_path / "run", settings(data=data), inputs={})
    with pytest.raises(InputError, match=r"other settings \(the order of data\.weights\)"):
        begin(tmp_path / "run", settings(data={**data, "weights": second}), inputs={})


def test_versions_name_what_computes():
    assert {"python", "numpy"} <= set(versions())
