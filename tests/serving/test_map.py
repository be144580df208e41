"""The page's map: points of every kind of collection, and where a query lies among them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from weakref import ref

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("sklearn", reason="the serve extra is not installed")

from fastapi.testclient import TestClient

from corom.encoder import Encoder
from corom.index import VectorIndex
from corom.records import Passage
from corom.serving.atlas import Atlas
from corom.serving.collection import Collection, Sample
from serving.asking import post, refusal


def sample(vectors: np.ndarray) -> Sample:
    return Sample([Passage(str(n), f"头痛{n}") for n in range(len(vectors))], vectors)


@pytest.mark.parametrize("count", [1, 9, 10, 16, 30])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_equal_vectors_have_a_map(count: int, value: float) -> None:
    """Of ten and more t-SNE's start would be NaN, which ends the process with SIGSEGV."""
    drawn = Atlas(sample(np.full((count, 16), value, np.float32)))
    assert drawn.method == "PCA"
    assert drawn.points.shape == (count, 2)
    assert np.ptp(drawn.points, axis=0).max() < 1e-5
    assert np.isfinite(drawn.place(drawn.near(np.ones(16, np.float32)))).all()


def test_vectors_of_two_kinds_are_two_groups_of_points() -> None:
    vectors = np.zeros((20, 16), np.float32)
    vectors[:10, 0], vectors[10:, 1] = 1, 1
    drawn = Atlas(sample(vectors))
    assert drawn.method == "t-SNE"
    assert np.isfinite(drawn.points).all()
    first, second = drawn.points[:10], drawn.points[10:]
    assert np.abs(first.mean(axis=0) - second.mean(axis=0)).max() > 0.3


def collection(encoder: Encoder, *, dim: int, texts: list[str]) -> Collection:
    index = VectorIndex.new(dim, fingerprint=encoder.fingerprint)
    passages = [Passage(str(n), text) for n, text in enumerate(texts)]
    if texts:
        index.add(passages, encoder.encode_passages(texts, truncate_dim=dim))
    return Collection("some", vectors=index)


def test_an_index_of_fewer_dimensions_has_a_place_for_a_query(
    serve: Callable[..., TestClient], encoder: Encoder
) -> None:
    texts = ["头痛", "糖尿病吃什么", "血压高"]
    client = serve(collection=collection(encoder, dim=8, texts=texts))
    assert len(client.get("/v1/map").json()["points"]) == 3
    found = post(client, "/v1/map/place", query="头痛")
    expected = encoder.encode_queries(["头痛"], truncate_dim=8, normalize=True) @ (
        encoder.encode_passages(texts, truncate_dim=8, normalize=True).T
    )
    scores = {near["row"]: near["score"] for near in found["near"]}
    assert [scores[row] for row in range(3)] == pytest.approx(expected[0].tolist(), abs=1e-5)


def test_an_empty_index_has_no_map(serve: Callable[..., TestClient], encoder: Encoder) -> None:
    client = serve(collection=collection(encoder, dim=encoder.dim, texts=[]))
    for answer in (
        client.get("/v1/map"),
        client.post("/v1/map/place", json={"query": "头痛"}),
        client.post("/v1/map/near", json={"row": 0}),
    ):
        status, told = refusal(answer)
        assert (status, told["code"]) == (404, "no_passages")
    assert post(client, "/v1/search", query="头痛")["hits"] == []


def test_a_map_that_failed_is_tried_again_and_holds_nothing(
    serve: Callable[..., TestClient], encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(collection=collection(encoder, dim=8, texts=["头痛", "糖尿病"]))
    with monkeypatch.context() as broken:
        broken.setattr("corom.serving.routes.atlas.Atlas", lambda _: 1 // 0)
        assert client.get("/v1/map").status_code == 500
    old = ref(client.service.collection)
    assert client.get("/v1/map").status_code == 200
    with monkeypatch.context() as broken:
        client.service.collection = collection(encoder, dim=8, texts=["头痛"])
        broken.setattr("corom.serving.routes.atlas.Atlas", lambda _: 1 // 0)
        failed = ref(client.service.collection)
        assert client.get("/v1/map").status_code == 500
    client.service.collection = collection(encoder, dim=8, texts=["咳嗽"])
    gc.collect()
    assert old() is failed() is None
