"""/v1/search over passages that are parts of longer texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("tantivy", reason="the lexical extra is not installed")

from fastapi.testclient import TestClient

from corom.encoder import Encoder
from corom.index import BM25Index, BM25Options, IndexSpec, VectorIndex, open_index, open_writer
from corom.records import Passage
from corom.reranker import Reranker, SecondPass
from corom.search import Fusion, Searcher
from corom.serving import finding
from corom.serving.collection import Collection
from serving.asking import post, refused

QUERY = "糖尿病吃什么药"
PARTS = [
    Passage(f"{text}#{number}", content)
    for text, contents in {
        "a": ["糖尿病饮食", "糖尿病吃药", "头痛"],
        "b": ["高血压吃药", "糖尿病"],
        "c": ["糖尿病患者吃什么"],
    }.items()
    for number, content in enumerate(contents, 1)
] + [Passage("d", "咳嗽发热")]


@pytest.fixture
def collection(encoder: Encoder) -> Collection:
    vectors = VectorIndex.new(encoder.dim, fingerprint=encoder.fingerprint)
    vectors.add(PARTS, encoder.encode_passages(part.text for part in PARTS))
    words = BM25Index.new(BM25Options(cut="bigrams"))
    words.add(PARTS)
    return Collection("parts", vectors=vectors, words=words)


def search(client: TestClient, **body: object) -> Any:
    return post(client, "/v1/search", **{"query": QUERY, **body})


def ids(client: TestClient, **body: object) -> list[str]:
    return [hit["id"] for hit in search(client, **body)["hits"]]


@pytest.mark.parametrize("k", [2, 10])
def test_each_text_once(
    serve: Callable[..., TestClient], collection: Collection, encoder: Encoder, k: int
) -> None:
    client = serve(collection=collection)
    dense = Searcher(collection.vectors, encoder=encoder)
    words = Searcher(words=collection.words)
    for mode, searcher in (("dense", dense), ("bm25", words)):
        for once in (False, True):
            truth = searcher.search([QUERY], k, by_document=once)[0]
            found = ids(client, mode=mode, k=k, by_document=once)
            assert found == [hit.id for hit in truth]
    assert len(ids(client, k=k, by_document=True)) == min(k, 4)


@pytest.mark.parametrize("k", [2, 10])
@pytest.mark.parametrize("weight", [None, 0, 0.5, 1])
@pytest.mark.parametrize("reads", [False, True])
def test_both_are_those_of_a_searcher_with_a_fusion(
    serve: Callable[..., TestClient],
    collection: Collection,
    encoder: Encoder,
    tiny_reranker: Path,
    k: int,
    weight: float | None,
    reads: bool,
) -> None:
    second = None
    if reads:
        second = SecondPass(reranker=Reranker.load(tiny_reranker, precision="fp32"), depth=3)
    client = serve(collection=collection, second=second)
    searcher = Searcher(
        collection.vectors,
        encoder=encoder,
        words=collection.words,
        fusion=Fusion() if weight is None else Fusion(vectors=weight),
        second=second,
    )
    asked = {"mode": "both", "k": k, **({} if weight is None else {"weight": weight})}
    for once in (False, True):
        truth = searcher.search([QUERY], k, by_document=once)[0]
        found = search(client, **asked, by_document=once, marks=True)
        assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in truth]
        scores = [hit["score"] for hit in found["hits"]]
        assert scores == pytest.approx([hit.score for hit in truth], abs=1e-4)
        assert [hit["text"] for hit in found["hits"]] == [hit.text for hit in truth]
        assert all(hit["marks"]["sentence"] for hit in found["hits"])
        assert (found["mode"], found["reranked"], found["truncated"]) == ("both", reads, False)


def test_a_query_cut_short_is_said_where_vectors_count(
    serve: Callable[..., TestClient], collection: Collection
) -> None:
    client = serve(collection=collection)
    for mode, cut in (("dense", True), ("both", True), ("bm25", False)):
        assert search(client, query="糖" * 500, mode=mode)["truncated"] is cut


def test_both_need_both_and_a_weight_needs_them(
    serve: Callable[..., TestClient], collection: Collection
) -> None:
    client = serve(collection=collection)
    assert client.get("/v1/about").json()["collection"]["modes"] == ["dense", "bm25", "both"]
    words = serve(collection=Collection("words", words=collection.words))
    for served, status, body in (
        (words, 400, {"mode": "both"}),
        (client, 400, {"weight": 0.5}),
        (client, 400, {"mode": "bm25", "weight": 0.5}),
        (client, 422, {"mode": "both", "weight": 1.1}),
        (client, 422, {"mode": "both", "weight": -0.1}),
        (client, 422, {"mode": "both", "weight": "0.5"}),
    ):
        found, told = refused(served, "/v1/search", query=QUERY, **body)
        assert (found, told["param"]) == (status, "mode" if served is words else "weight")


def test_an_index_made_of_parts_is_searched_so(
    serve: Callable[..., TestClient], encoder: Encoder, tmp_path: Path
) -> None:
    spec = IndexSpec(options=BM25Options(cut="bigrams"), part_tokens=16)
    with open_writer(tmp_path / "words", spec) as writer:
        writer.append(PARTS)
        writer.finish()
    client = serve(collection=Collection("parts", words=open_index(tmp_path / "words")))
    once = ids(client, mode="bm25", by_document=True)
    assert ids(client, mode="bm25") == once
    assert len(ids(client, mode="bm25", by_document=False)) > len(once)


def test_a_reranker_reads_the_best_part_of_each(
    serve: Callable[..., TestClient],
    collection: Collection,
    encoder: Encoder,
    tiny_reranker: Path,
) -> None:
    second = SecondPass(reranker=Reranker.load(tiny_reranker, precision="fp32"), depth=5)
    client = serve(collection=collection, second=second)
    searcher = Searcher(collection.vectors, encoder=encoder, second=second)
    truth = searcher.search([QUERY], 3, by_document=True)[0]
    assert ids(client, k=3, by_document=True) == [hit.id for hit in truth]


@pytest.mark.parametrize("mode", ["dense", "bm25", "both"])
def test_marks_are_made_off_the_event_loop(
    serve: Callable[..., TestClient],
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """A long passage must not keep others waiting."""
    real = {"snippet": finding.snippet, "first_sentences": finding.first_sentences}
    loops: list[object] = []

    def watched(name: str) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            loops.append(asyncio._get_running_loop())
            return real[name](*args, **options)

        return call

    for name in real:
        monkeypatch.setattr(finding, name, watched(name))
    client = serve(collection=collection)
    found = search(client, mode=mode, marks=True, k=3)
    assert all(hit["marks"]["words"] for hit in found["hits"])
    assert loops == [None] * (3 if mode == "bm25" else 6)


class TestWhere:
    KEPT = (
        Passage("1", "糖尿病1", fields={"department": "儿科", "date": "2025-01-01"}),
        Passage("2", "糖尿病2", fields={"department": "内科", "date": "2025-02-01"}),
        Passage("3", "糖尿病3", fields={"department": "内科", "date": "2025-03-01"}),
        Passage("4", "糖尿病4", fields={"department": "外科", "date": "2025-04-01"}),
        Passage("5", "糖尿病"),
    )

    @pytest.fixture
    def client(self, serve: Callable[..., TestClient], encoder: Encoder) -> TestClient:
        keep = ("department", "date")
        vectors = VectorIndex.new(encoder.dim, fingerprint=encoder.fingerprint, keep=keep)
        vectors.add(self.KEPT, encoder.encode_passages(each.text for each in self.KEPT))
        words = BM25Index.new(BM25Options(cut="bigrams"), keep=keep)
        words.add(self.KEPT)
        return serve(collection=Collection("kept", vectors=vectors, words=words))

    @pytest.mark.parametrize("mode", ["dense", "bm25", "both"])
    @pytest.mark.parametrize(
        ("where", "wanted"),
        [
            ({}, {"1", "2", "3", "4", "5"}),
            ({"department": ["儿科", "外科"]}, {"1", "4"}),
            ({"date": {"gte": "2025-02-01", "lt": "2025-04-01"}}, {"2", "3"}),
            ({"date": {"gt": "2025-02-01"}, "department": ["内科"]}, {"3"}),
            ({"department": ["没有的科"]}, set()),
        ],
    )
    def test_those_that_match(
        self, client: TestClient, mode: str, where: dict[str, Any], wanted: set[str]
    ) -> None:
        answer = search(client, mode=mode, where=where)
        assert {hit["id"] for hit in answer["hits"]} == wanted
        assert answer["passages"] == 5
        for hit in answer["hits"]:
            assert hit["fields"] == self.KEPT[int(hit["id"]) - 1].fields
        assert len(search(client, mode=mode, where=where, k=1)["hits"]) == min(1, len(wanted))

    @pytest.mark.parametrize(
        ("where", "status"),
        [
            ({"张三": ["李四"]}, 400),
            ({"date": {}}, 400),
            ({"张三": "李四"}, 422),
            ({"张三": []}, 422),
            ({"张三": [3]}, 422),
            ({"张三": {"李四": "3"}}, 422),
            ({"张三": {"gte": 3}}, 422),
            ({"张三": [""]}, 422),
            (["张三"], 422),
            ({f"张三{n}": ["a"] for n in range(21)}, 422),
        ],
    )
    def test_wrong_ones(self, client: TestClient, where: object, status: int) -> None:
        found, told = refused(client, "/v1/search", query=QUERY, where=where)
        assert (found, told["param"]) == (status, "where")
        assert not {*"张三李四"} & {*told["message"]}
        if status == 400 and "date" not in where:
            assert "it keeps department, date" in told["message"]

    def test_a_column_that_only_one_index_keeps(
        self, serve: Callable[..., TestClient], client: TestClient
    ) -> None:
        words = BM25Index.new(BM25Options(cut="bigrams"))
        words.add([each._replace(fields={}) for each in self.KEPT])
        vectors = client.service.collection.vectors  # type: ignore[attr-defined]
        client = serve(collection=Collection("kept", vectors=vectors, words=words))
        where = {"department": ["儿科"]}
        assert ids(client, mode="dense", where=where) == ["1"]
        for mode in ("bm25", "both"):
            assert refused(client, "/v1/search", query=QUERY, mode=mode, where=where)[0] == 400

    def test_indexes_that_keep_other_values(
        self, serve: Callable[..., TestClient], client: TestClient
    ) -> None:
        words = BM25Index.new(BM25Options(cut="bigrams"), keep=("department",))
        words.add([each._replace(fields={"department": "内科"}) for each in self.KEPT])
        vectors = client.service.collection.vectors  # type: ignore[attr-defined]
        client = serve(collection=Collection("kept", vectors=vectors, words=words))
        found = ids(client, mode="both", where={"department": ["内科"]})
        assert {*found} == {"1", "2", "3", "4", "5"}
