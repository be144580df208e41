from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corom import Encoder, Reranker, Searcher, Splitter
from corom.corpus import CorpusChecksum
from corom.evaluation import Dense, Parted, Stored, reranked
from corom.index import IndexSpec, open_index
from corom.index.building import build_index
from corom.readers import Dataset
from corom.records import Passage, Query
from corom.reranker import SecondPass
from evaluation.retrievers import Scored

TEXTS = ["糖尿病饮食", "头痛吃药", "高血压检查", "咳嗽发热", "心肺手术"]
PASSAGES = [Passage(str(n), text) for n, text in enumerate(TEXTS)]
QUERIES = [Query("1", "糖尿病"), Query("2", "咳嗽")]


def listed() -> Scored:
    """Finds the passages in the order of their ids, but for the query `2` nothing."""
    return Scored(
        "listed", lambda query, passage: None if query.id == "2" else 0.9 - 0.1 * int(passage.id)
    )


@pytest.fixture
def reranker(tiny_reranker: Path) -> Reranker:
    return Reranker.load(tiny_reranker, precision="fp32")


def test_the_head_is_ranked_anew_and_the_tail_stays_below(reranker: Reranker) -> None:
    row = reranked(listed(), SecondPass(reranker=reranker, depth=3, share=1.0))
    found, nothing = row.index(iter(PASSAGES)).search(QUERIES, 5)
    expected = [hit.id for hit in reranker.rank("糖尿病", PASSAGES[:3])]
    assert [hit.id for hit in found] == [*expected, "3", "4"]
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[3] - scores[4] == pytest.approx(0.1)
    assert nothing == []
    assert len(row.index(PASSAGES)) == 5
    assert row.name == f"listed+{reranker.name}"
    assert row.settings["scored"] == "listed"


def test_a_depth_below_the_rerankers_still_lets_it_read_all_of_its_own(reranker: Reranker) -> None:
    row = reranked(listed(), SecondPass(reranker=reranker, depth=5, share=1.0))
    found = row.index(PASSAGES).search(QUERIES[:1], 1)[0]
    assert [hit.id for hit in found] == [reranker.rank("糖尿病", PASSAGES)[0].id]


def test_of_parts_the_best_is_read_as_in_a_search(
    data: Dataset, dense: Callable[..., Dense], encoder: Encoder, reranker: Reranker, tmp_path: Path
) -> None:
    splitter, second = Splitter.load(encoder.folder, max_tokens=16), SecondPass(reranker=reranker)
    source = CorpusChecksum(data.passages()).hexdigest()
    spec = IndexSpec.for_encoder(encoder, normalized=True, source=source, part_tokens=16)
    build_index(tmp_path / "i", data.passages(), spec=spec, encoder=encoder, splitter=splitter)
    vectors = open_index(tmp_path / "i")
    assert len(vectors) > 60
    parted = reranked(Parted(dense(normalize=True), splitter), second)
    stored = reranked(Stored(name="kept", vectors=vectors, encoder=encoder), second)
    queries = list(data.queries("dev"))
    searcher = Searcher(vectors, encoder=encoder, second=second)
    for depth in (10, 60):  # fewer than are read, and more
        found = parted.index(data.passages()).search(queries, depth)
        assert {len(hits) for hits in found} == {depth}
        assert stored.index(data.passages()).search(queries, depth) == found
        searched = searcher.run(queries, depth)
        assert [searched[query.id] for query in queries] == found
    assert parted.name == f"tiny, parts of 16+{reranker.name}"
    assert stored.name == f"kept+{reranker.name}"
    for row in (parted, stored):
        assert (row.settings["part_tokens"], row.settings["rerank_depth"]) == (16, 50)
    assert "reranker" not in Parted(dense(), splitter).settings
