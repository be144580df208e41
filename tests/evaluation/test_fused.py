from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("tantivy", reason="the lexical extra is not installed")

from corom import Encoder, Reranker, Searcher
from corom.evaluation import Dense, Fused, Lexical, evaluate, reranked
from corom.index import BM25Index, VectorIndex
from corom.readers import Dataset
from corom.records import Hit
from corom.reranker import SecondPass
from corom.search import Fusion

FUSIONS = [
    *(Fusion(), Fusion(vectors=0), Fusion(vectors=0.3, depth=5), Fusion(vectors=1, depth=2)),
    Fusion(method="rrf"),
]


@pytest.fixture
def searcher(data: Dataset, encoder: Encoder) -> Callable[..., Searcher]:
    """`searcher(fusion)` is what `corom search --words` searches with."""
    passages = list(data.passages())
    vectors = VectorIndex.new(encoder.dim, fingerprint=encoder.fingerprint, normalized=True)
    contents = (passage.content for passage in passages)
    vectors.add(passages, encoder.encode_passages(contents, normalize=True))
    words = BM25Index.new()
    words.add(passages)

    def make(fusion: Fusion, second: SecondPass | None = None) -> Searcher:
        return Searcher(vectors, encoder=encoder, words=words, fusion=fusion, second=second)

    return make


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("depth", [1, 10, 100])
def test_it_finds_what_a_searcher_finds(
    data: Dataset,
    dense: Callable[..., Dense],
    searcher: Callable[..., Searcher],
    fusion: Fusion,
    depth: int,
) -> None:
    row, queries = Fused(dense(normalize=True), Lexical(), fusion), list(data.queries("dev"))
    index = row.index(data.passages())
    assert len(index) == 60
    truth = searcher(fusion).run(queries, depth)
    assert_alike(index.search(queries, depth), [truth[query.id] for query in queries])
    assert index.search([], depth) == []


def test_a_reranker_reads_what_both_found(
    data: Dataset,
    dense: Callable[..., Dense],
    searcher: Callable[..., Searcher],
    tiny_reranker: Path,
) -> None:
    second = SecondPass(reranker=Reranker.load(tiny_reranker, precision="fp32"), depth=7)
    fused = Fused(dense(normalize=True), Lexical(), Fusion(depth=5))
    row, queries = reranked(fused, second), list(data.queries("dev"))
    truth = searcher(Fusion(depth=5), second).run(queries, 3)
    found = row.index(data.passages()).search(queries, 3)
    assert_alike(found, [truth[query.id] for query in queries])
    assert row.name == f"tiny+bm25@0.8+{second.reranker.name}"
    assert (row.settings["fusion_vectors"], row.settings["rerank_depth"]) == (0.8, 7)


def assert_alike(found: list[list[Hit]], truth: list[list[Hit]]) -> None:
    for hits, own in zip(found, truth, strict=True):
        assert [hit.id for hit in hits] == [hit.id for hit in own]
        assert [hit.score for hit in hits] == pytest.approx([h.score for h in own], abs=1e-5)


@pytest.mark.parametrize("depth", [10, 1000])
def test_vectors_that_count_alone_have_their_own_figures_and_words_theirs(
    data: Dataset, dense: Callable[..., Dense], depth: int
) -> None:
    rows = [dense(), Fused(dense(), Lexical(), Fusion(vectors=1))]
    rows += [Lexical(), Fused(dense(), Lexical(), Fusion(vectors=0))]
    assert [row.name for row in rows] == ["tiny", "tiny+bm25@1", "bm25", "tiny+bm25@0"]
    report = evaluate(
        data, rows, splits=["dev"], measures=["MRR@10", "Recall@10", "MAP"], depth=depth
    )
    vectors, alone, words, by_words = [each.evaluation for each in report.results]
    assert alone == vectors
    assert by_words == words
    assert vectors != words
    versus = report.results[1].versus
    assert versus is not None
    assert {(test.difference, test.p_value) for test in versus.values()} == {(0, 1)}
