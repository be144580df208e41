from __future__ import annotations

from collections import Counter

import pytest

from corom.errors import InputError
from corom.readers import read_groups, read_pairs
from corom.training.mining_settings import SampleSettings
from corom.training.recipe import from_table
from corom.training.sampling import sample


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
    with pytest.raises(InputError, match=r"sampled otherwise \(settings\.seed\)"):
        sample(settings("a", most=20, seed=2))


def test_a_dataset_folder_gives_groups(settings, dataset, pairs):
    files = sample(settings(data=[str(dataset), str(pairs)], most=30))
    assert [path.name for path in files] == ["medical.jsonl", "pairs.jsonl"]
    assert len(list(read_groups(files[0]))) == len(list(read_pairs(files[1]))) == 15


def test_more_than_there_is_is_everything(settings, pairs):
    (path,) = sample(settings(most=1000))
    assert list(read_pairs(path)) == list(read_pairs(pairs))


def test_impossible_settings_are_refused(settings):
    for change in ({"data": []}, {"most": 0}, {"weights": {"a": 1.5}}):
        with pytest.raises(InputError):
            settings(**change)
