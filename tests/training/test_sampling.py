from __future__ import annotations

import json
from collections import Counter

import pytest

from corom.errors import ArtifactError, FormatError, InputError
from corom.readers import read_groups, read_pairs
from corom.training.mining_settings import SampleSettings
from corom.training.sampling import sample
from corom.training.tables import from_table


@pytest.fixture
def settings(tmp_path, pairs):
    def make(output="part", **changes):
        table = {"data": [str(pairs)], "output": str(tmp_path / output), **changes}
        return from_table(SampleSettings, table)

    return make


def test_a_part_has_the_asked_size_and_keeps_records_whole(settings, pairs):
    (path,) = sample(settings(most=20))
    kept, known = list(read_pairs(path)), list(read_pairs(pairs))
    assert len(kept) == 20
    assert [pair for pair in known if pair in kept] == kept


def test_sources_give_their_share(settings):
    (path,) = sample(settings(weights={"ma*": 0.2}))
    counts = Counter(pair.source for pair in read_pairs(path))
    assert counts["real"] == 30
    assert 5 <= counts["made"] <= 7
    (path,) = sample(settings("half", weights={"ma*": 0.0}, most=15))
    assert Counter(pair.source for pair in read_pairs(path)) == {"real": 15}


def test_the_seed_decides_and_a_part_is_left_as_it_is(settings):
    parts = {
        name: sample(settings(name, most=20, seed=seed))[0].read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 5))
    }
    assert parts["a"] == parts["b"] != parts["c"]
    chosen = settings("a", most=20, seed=1)
    assert sample(chosen)[0].read_bytes() == parts["a"]
    with pytest.raises(InputError, match=r"made otherwise \(settings\.seed\)"):
        sample(settings("a", most=20, seed=2))


def test_a_dataset_folder_gives_groups(settings, dataset, pairs):
    files = sample(settings(data=[str(dataset), str(pairs)], most=30))
    assert [path.name for path in files] == ["medical.jsonl", "pairs.jsonl"]
    assert len(list(read_groups(files[0]))) == len(list(read_pairs(files[1]))) == 15


def test_each_file_gives_its_own_share(settings, dataset, pairs):
    files = sample(settings(data=[str(dataset), str(pairs)], weights={"medical": 0.0}))
    assert list(read_groups(files[0])) == []
    assert list(read_pairs(files[1])) == list(read_pairs(pairs))


def test_bad_rows_raise_or_are_counted(settings, pairs):
    with pairs.open("a", encoding="utf-8") as file:
        file.write('{"query": "头痛"}\n')
    with pytest.raises(FormatError, match="line 61"):
        sample(settings())
    (path,) = sample(settings(bad_rows="skip"))
    report = json.loads(path.with_name("report.json").read_text(encoding="utf-8"))
    assert report["report"] == {"records": 60, "kept": 60, "left out": {"missing field": 1}}


def test_a_part_that_was_changed_is_refused(settings):
    (path,) = sample(settings())
    path.write_text(path.read_text(encoding="utf-8").replace("家", "在"), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"pairs\.jsonl is corrupt"):
        sample(settings())


def test_more_than_there_is_is_everything(settings, pairs):
    (path,) = sample(settings(most=1000))
    assert list(read_pairs(path)) == list(read_pairs(pairs))


def test_impossible_settings_are_refused(settings):
    for change in ({"data": []}, {"most": 0}, {"weights": {"a": 1.5}}):
        with pytest.raises(InputError):
            settings(**change)
