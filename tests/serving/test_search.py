"""/v1/search over passages that are parts of longer texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("tantivy", reason="the lexical extra is not installed")

from fastapi.testclient import TestClient

from corom.encoder import Encoder
from corom.index import (
    BM25Index,
    BM25Options,
    IndexSpec,
    VectorIndex,
    open_index,
    open_writer,
)
from corom.records import Passage
from corom.reranker import Reranker, SecondPass
from corom.search import Searcher
from corom.serving import finding
from corom.serving.collection import Collection

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


def ids(client: TestClient, **body: object) -> list[str]:
    answer = client.post("/v1/search", json={"query": QUERY, **body})
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


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


@pytest.mark.parametrize("mode", ["dense", "bm25"])
def test_marks_are_made_off_the_event_loop(
    serve: Callable[..., TestClient],
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """A long passage must not keep others waiting."""
    real = {"snippet": finding.snippet, "sentences": finding.sentences}
    loops: list[object] = []

    def watched(name: str) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            loops.append(asyncio._get_running_loop())
            return real[name](*args, **options)

        return call

    for name in real:
        monkeypatch.setattr(finding, name, watched(name))
    client = serve(collection=collection)
    answer = client.post("/v1/search", json={"query": QUERY, "mode": mode, "marks": True, "k": 3})
    assert all(hit["marks"]["words"] for hit in answer.json()["hits"])
    assert loops == [None] * (6 if mode == "dense" else 3)
