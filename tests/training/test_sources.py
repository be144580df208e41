from __future__ import annotations

import pytest

from corom.training.sources import plain_source, row_weights


def test_the_first_matching_pattern_weighs_a_source():
    patterns = {"toyhom_2": 3.0, "toyhom*": 2.0, "kg_*": 0.0}
    sources = ["toyhom_1", "toyhom_2", "kg_a", "book", "toyhom_1"]
    assert row_weights(sources, patterns).tolist() == [2.0, 3.0, 0.0, 1.0, 2.0]
    assert row_weights([], patterns).shape == (0,)


@pytest.mark.parametrize(
    "pattern",
    [
        *("noisy", "noisy.jsonl", "noisy.jsonl.xz", "nois*.jsonl", "n*", "noisy.*", "noisy.json*"),
        *("noisy.jsonl*", "noisy.jsonl.?z", "nois?.jsonl.*"),
    ],
)
@pytest.mark.parametrize("file", ["noisy.jsonl.xz", "noisy.jsonl", "noisy"])
def test_a_file_is_one_source_whatever_its_ending(pattern, file):
    patterns = {"noise": 3.0, pattern: 0.0}
    sources = [plain_source(file), "clean", "noise"]
    assert row_weights(sources, patterns).tolist() == [0.0, 1.0, 3.0]


def test_the_endings_of_sources_that_pairs_name_themselves_count():
    assert row_weights(["web.jsonl"], {"web.jsonl": 2.0}).tolist() == [2.0]
    assert plain_source("v1.2.tsv.gz") == "v1.2.tsv"
