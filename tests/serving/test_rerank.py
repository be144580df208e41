"""A reranker behind the service: /rerank, /v1/rerank and the order of searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from fastapi.testclient import TestClient

from corom.cli import main
from corom.encoder import Encoder
from corom.records import Hit
from corom.reranker import Reranker, SecondPass, reordered
from corom.search import Searcher
from corom.serving.collection import Collection, bundled_collection
from corom.serving.server import Server
from corom.serving.service import Service
from serving.asking import post, refused

QUERY = "头痛发热怎么办"
TEXTS = ["糖尿病吃什么药", "头痛发热", "血" * 100, "头痛发热"]


@pytest.fixture
def second(tiny_reranker: Path) -> SecondPass:
    return SecondPass(reranker=Reranker.load(tiny_reranker, precision="fp32"), depth=5, share=0.7)


@pytest.fixture
def collection(encoder: Encoder) -> Collection:
    return bundled_collection(encoder)


@pytest.fixture
def client(
    serve: Callable[..., TestClient], second: SecondPass, collection: Collection
) -> TestClient:
    return serve(collection=collection, second=second)


def test_alone_it_gives_its_own_order(
    client: TestClient, second: SecondPass, serve: Callable[..., TestClient]
) -> None:
    logits = second.reranker.score([QUERY] * 4, TEXTS)
    raw = post(client, "/rerank", query=QUERY, texts=TEXTS, raw_scores=True)
    assert [rank["score"] for rank in raw] == pytest.approx(sorted(logits, reverse=True), abs=1e-5)
    alone = serve(second=replace(second, share=1.0))
    squashed = post(alone, "/rerank", query=QUERY, texts=TEXTS, return_text=True)
    for rank, same in zip(squashed, raw, strict=True):
        assert rank["index"] == same["index"]
        assert rank["score"] == pytest.approx(1 / (1 + np.exp(-same["score"])), abs=1e-5)
        assert rank["text"] == TEXTS[rank["index"]]
    places = [rank["index"] for rank in raw]
    assert places.index(3) == places.index(1) + 1  # equal texts, in the order of the request


def test_both_scores_count_as_in_a_search(
    client: TestClient, second: SecondPass, serve: Callable[..., TestClient]
) -> None:
    cosines = post(serve(), "/rerank", query=QUERY, texts=TEXTS)
    first = [Hit(str(rank["index"]), rank["score"]) for rank in cosines]
    logits = second.reranker.score([QUERY] * 4, [TEXTS[int(hit.id)] for hit in first]).tolist()
    wanted = reordered(first, logits, share=0.7)
    found = post(client, "/rerank", query=QUERY, texts=TEXTS)
    assert [str(rank["index"]) for rank in found] == [hit.id for hit in wanted]
    assert [rank["score"] for rank in found] == pytest.approx([h.score for h in wanted], abs=1e-4)
    assert post(client, "/rerank", query=QUERY, texts=["头痛"]) == [{"index": 0, "score": 1.0}]


def test_a_pair_that_is_too_long_is_said_where_truncation_is_off(client: TestClient) -> None:
    status, told = refused(client, "/rerank", query=QUERY, texts=TEXTS, truncate=False)
    assert (status, told["code"]) == (422, "too_long")
    assert "text 2 is over 64 tokens" in told["message"]


def test_v1_rerank_is_what_clients_of_jina_and_cohere_ask(client: TestClient) -> None:
    ranks = post(client, "/rerank", query=QUERY, texts=TEXTS)
    asked = {"query": QUERY, "documents": TEXTS, "return_documents": False}
    found = post(client, "/v1/rerank", **asked, model="reranker", top_n=2)
    assert set(found) == {"model", "usage", "results"}
    assert found["model"] == "reranker"
    assert found["usage"]["total_tokens"] > 64
    assert found["results"] == [
        {"index": rank["index"], "relevance_score": rank["score"]} for rank in ranks[:2]
    ]
    objects = [{"text": text} for text in TEXTS]
    whole = post(client, "/v1/rerank", query=QUERY, documents=objects)["results"]
    assert [result["index"] for result in whole] == [rank["index"] for rank in ranks]
    assert all(result["document"]["text"] == TEXTS[result["index"]] for result in whole)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"documents": []}, 422),
        ({"documents": ["头"] * 2049}, 422),
        ({"documents": ["头"], "top_n": 0}, 422),
        ({"documents": ["头"], "model": "tiny"}, 404),
        ({"documents": [{"text": "头", "title": "痛"}]}, 422),
        ({"documents": [{"text": ""}]}, 422),
        ({"documents": ["头"], "max_chunks": 1}, 422),
    ],
)
def test_v1_rerank_refuses(client: TestClient, body: dict[str, Any], status: int) -> None:
    assert refused(client, "/v1/rerank", query=QUERY, **body)[0] == status


def test_without_a_reranker_the_cosines_rank(serve: Callable[..., TestClient]) -> None:
    client = serve()
    ranks = post(client, "/rerank", query=QUERY, texts=TEXTS)
    found = post(client, "/v1/rerank", query=QUERY, documents=TEXTS, model="tiny")
    assert [result["relevance_score"] for result in found["results"]] == [
        rank["score"] for rank in ranks
    ]
    named = serve(names=("clinic", "rerank-v3.5"))  # the same names as elsewhere
    for name in ("clinic", "rerank-v3.5"):
        found = post(named, "/v1/rerank", query=QUERY, documents=TEXTS, model=name)
        assert found["model"] == "clinic"
    assert refused(named, "/v1/rerank", query=QUERY, documents=TEXTS, model="tiny")[0] == 404


def test_a_search_is_that_of_a_searcher_with_a_second_pass(
    client: TestClient, collection: Collection, encoder: Encoder, second: SecondPass
) -> None:
    searcher = Searcher(collection.vectors, encoder=encoder, second=second)
    found = post(client, "/v1/search", query=QUERY, k=8, marks=True)
    truth = searcher.search([QUERY], k=8)[0]
    assert found["reranked"] is True
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in truth]
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == pytest.approx([hit.score for hit in truth], abs=1e-4)
    assert all(hit["marks"]["sentence"] for hit in found["hits"])
    words = Searcher(words=collection.words, second=second).search([QUERY], k=3)[0]
    found = post(client, "/v1/search", query=QUERY, k=3, mode="bm25")
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in words]


def test_a_search_may_go_without(
    client: TestClient, collection: Collection, encoder: Encoder
) -> None:
    found = post(client, "/v1/search", query=QUERY, k=8, rerank=False)
    assert found["reranked"] is False
    truth = Searcher(collection.vectors, encoder=encoder).search([QUERY], k=8)[0]
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in truth]


def test_a_search_cannot_ask_for_what_is_not_there(
    serve: Callable[..., TestClient], collection: Collection
) -> None:
    client = serve(collection=collection)
    status, told = refused(client, "/v1/search", query=QUERY, rerank=True)
    assert (status, told["code"]) == (400, "no_reranker")
    assert post(client, "/v1/search", query=QUERY)["reranked"] is False
    assert client.get("/v1/about").json()["reranker"] is None


def test_about_and_readiness_know_the_reranker(client: TestClient, second: SecondPass) -> None:
    about = client.get("/v1/about").json()["reranker"]
    assert about["fingerprint"] == second.reranker.fingerprint
    assert (about["name"], about["max_length"]) == ("reranker", 64)
    assert (about["depth"], about["share"]) == (5, 0.7)
    assert client.get("/readyz").status_code == 200
    before = client.get("/metrics").text
    post(client, "/rerank", query=QUERY, texts=TEXTS)
    after = client.get("/metrics").text
    assert _texts(after) == _texts(before) + 4 + 5  # pairs; query and texts by themselves


def test_a_reranker_that_fails_is_not_ready(
    client: TestClient, second: SecondPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(QUERY)

    monkeypatch.setattr(second.reranker, "run", fail)
    assert client.get("/readyz").status_code == 503
    answer = client.post("/rerank", json={"query": QUERY, "texts": TEXTS})
    assert answer.status_code == 500
    assert QUERY not in answer.text
    assert post(client, "/embed", inputs="头")  # the encoder goes on


def _texts(metrics: str) -> float:
    line = next(line for line in metrics.splitlines() if line.startswith("corom_texts_total "))
    return float(line.split()[1])


def test_the_command_line_opens_the_reranker(
    tiny_reranker: Path,
    tiny_checkpoint: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[Service] = []
    monkeypatch.setattr(Server, "__init__", lambda _, service: served.append(service))
    monkeypatch.setattr(Server, "run", lambda _: None)
    serve = ["serve", "--model", str(tiny_checkpoint(name="own").folder), "--precision", "fp32"]
    rerank = ["--rerank", str(tiny_reranker), "--rerank-depth", "7", "--rerank-share", "0.3"]
    assert main([*serve, *rerank]) == 0
    second = served[0].second
    assert second is not None
    assert (second.rules.depth, second.rules.share) == (7, 0.3)
    assert second.rules.reranker.precision == "fp32"
    assert main(serve) == 0
    assert served[1].second is None
    assert main([*serve, "--rerank", str(served[0].encoder.folder)]) == 1


def test_the_index_is_opened_before_the_reranker_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--index", str(tmp_path), "--rerank", str(tmp_path / "none")]) == 1
    assert "holds no index" in capsys.readouterr().err
