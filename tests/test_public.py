"""The public names: few, listed, described, and there."""

from __future__ import annotations

import inspect
from importlib import metadata

import pytest

import corom

NAMES = [
    *("BM25Index", "CoromError", "Encoder", "Hit", "Passage", "Qrel", "Query", "Reranker"),
    *(
        "Searcher",
        "Splitter",
        "VectorIndex",
        "evaluate",
        "evaluate_run",
        "open_dataset",
        "open_index",
        "open_passages",
    ),
    *("open_queries", "rank_passages", "score_matrix", "score_pairs"),
]


def test_the_list_is_complete_sorted_and_short() -> None:
    assert corom.__all__ == sorted(NAMES)
    assert len(corom.__all__) <= 20
    assert set(NAMES) <= set(dir(corom))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_described(name: str) -> None:
    value = getattr(corom, name)
    assert inspect.getdoc(value)
    assert value.__module__.startswith("corom.")


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = corom.nothing


def test_the_version_is_that_of_the_package() -> None:
    try:
        assert metadata.version("corom") == corom.__version__
    except metadata.PackageNotFoundError:
        pytest.skip("corom is not installed here, only its source is")
