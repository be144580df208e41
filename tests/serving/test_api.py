"""The shapes of OpenAI, text-embeddings-inference and the model card, over HTTP."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from pydantic_core import to_json

from corom.serving import writing
from corom.serving.service import model_name
from serving.asking import post, refusal, refused

TEXTS = ["头痛发热", "糖尿病吃什么药", "血" * 300]


def test_openai_floats_are_the_encoders_vectors(client, encoder):
    found = post(client, "/v1/embeddings", input=TEXTS, model="tiny")
    assert [item["index"] for item in found["data"]] == [0, 1, 2]
    vectors = np.array([item["embedding"] for item in found["data"]])
    assert np.abs(vectors - encoder.encode_passages(TEXTS)).max() < 1e-5
    tokens = sum(encoder.count_tokens(TEXTS))
    assert found["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert (found["object"], found["model"], found["truncated"]) == ("list", "tiny", [2])


def test_openai_base64_is_little_endian_float32(client, encoder):
    found = post(client, "/v1/embeddings", input=TEXTS[0], encoding_format="base64")
    vector = np.frombuffer(base64.b64decode(found["data"][0]["embedding"]), "<f4")
    assert np.abs(vector - encoder.encode_passages(TEXTS[:1])[0]).max() < 1e-5


def test_queries_get_their_prefix(client, encoder):
    found = post(client, "/v1/embeddings", input=TEXTS[0], input_type="query")
    truth = encoder.encode_queries(TEXTS[:1])
    assert np.abs(np.array(found["data"][0]["embedding"]) - truth[0]).max() < 1e-5
    assert np.abs(truth - encoder.encode_passages(TEXTS[:1])).max() > 1e-3


def test_dimensions_are_the_first(client, encoder):
    found = post(client, "/v1/embeddings", input=TEXTS[0], dimensions=8)
    truth = encoder.encode_passages(TEXTS[:1], truncate_dim=8)[0]
    assert np.abs(np.array(found["data"][0]["embedding"]) - truth).max() < 1e-5
    assert refused(client, "/v1/embeddings", input="头", dimensions=33)[0] == 400


def test_models(client):
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny"]
    assert client.get("/v1/models/tiny").json()["object"] == "model"
    assert client.get("/v1/models/gpt").status_code == 404
    assert (
        refused(client, "/v1/embeddings", input="头", model="gpt")[1]["code"] == "model_not_found"
    )


def test_other_names(serve):
    client = serve(names=("clinic-v2", "text-embedding-3-small"))
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["clinic-v2"]
    for name in ("clinic-v2", "text-embedding-3-small"):
        assert post(client, "/v1/embeddings", input="头", model=name)["model"] == "clinic-v2"
        assert client.get(f"/v1/models/{name}").json()["id"] == "clinic-v2"
    assert (
        refused(client, "/v1/embeddings", input="头", model="tiny")[1]["code"] == "model_not_found"
    )


def test_a_trained_model_is_called_as_its_run(tmp_path):
    for folder, name in (("runs/first/model", "first"), ("models/clinic", "clinic")):
        (tmp_path / folder).mkdir(parents=True)
        assert model_name(str(tmp_path / folder)) == name
    assert model_name("corom-medical") == "corom-medical"


@pytest.mark.parametrize("ids", [[1, 2], [[1, 2], [3]], [True]])
def test_token_ids_are_refused_with_the_way_out(client, ids):
    status, told = refused(client, "/v1/embeddings", input=ids)
    assert status == 400
    assert "check_embedding_ctx_length=False" in told["message"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 422, "input"),
        ({"input": []}, 422, "input"),
        ({"input": ""}, 422, "input.0"),
        ({"input": ["好", ""]}, 422, "input.1"),
        ({"input": ["好", None]}, 422, "input.1"),
        ({"input": None}, 422, "input"),
        ({"input": {"a": "b"}}, 422, "input"),
        ({"input": "好" * 8193}, 422, "input.0"),
        ({"input": ["好"] * 2049}, 422, "input"),
        ({"input": "好", "dimensions": 0}, 422, "dimensions"),
        ({"input": "好", "dimensions": "8"}, 422, "dimensions"),
        ({"input": "好", "encoding_format": "int8"}, 422, "encoding_format"),
        ({"input": "好", "temperature": 0}, 422, None),
    ],
)
def test_wrong_requests_name_the_place(client, body, status, param):
    found, told = refused(client, "/v1/embeddings", **body)
    assert (found, told["param"]) == (status, param)
    assert "好" not in told["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b'{"input": "\xff"}', b'{"input": NaN}', b"null", b"3"]
)
def test_bodies_that_are_no_request(client, body):
    answer = client.post(
        "/v1/embeddings", content=body, headers={"content-type": "application/json"}
    )
    status, told = refusal(answer)
    assert status in (400, 422)
    assert told["message"]


def test_lone_surrogates_are_refused_and_nul_is_not(client):
    headers = {"content-type": "application/json"}
    bad = client.post("/v1/embeddings", content=rb'{"input": "\ud800"}', headers=headers)
    assert bad.status_code == 422
    assert client.post("/v1/embeddings", json={"input": "头\x00痛"}).status_code == 200


def test_unknown_routes_and_methods_get_the_envelope(client):
    assert refusal(client.get("/v2"))[1]["code"] == "not_found"
    answer = client.get("/v1/embeddings")
    assert refusal(answer)[1]["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


def test_tei_embed(client, encoder):
    found = np.array(post(client, "/embed", inputs=TEXTS))
    assert np.abs(found - encoder.encode_passages(TEXTS, normalize=True)).max() < 1e-5
    raw = np.array(post(client, "/embed", inputs=TEXTS[0], normalize=False, prompt_name="query"))
    assert np.abs(raw - encoder.encode_queries(TEXTS[:1], normalize=False)).max() < 1e-5
    status, told = refused(client, "/embed", inputs=TEXTS, truncate=False)
    assert (status, told["code"]) == (422, "too_long")
    assert "text 2 is over 128 tokens" in told["message"]


def test_tei_similarity_and_rerank(client, encoder):
    query, texts = TEXTS[0], TEXTS
    cosines = (
        encoder.encode_queries([query], normalize=True)
        @ encoder.encode_passages(texts, normalize=True).T
    )[0]
    inputs = {"source_sentence": query, "sentences": texts}
    assert np.abs(post(client, "/similarity", inputs=inputs) - cosines).max() < 1e-5
    ranks = post(client, "/rerank", query=query, texts=texts, return_text=True)
    assert [rank["index"] for rank in ranks] == np.argsort(-cosines).tolist()
    assert [rank["text"] for rank in ranks] == [texts[rank["index"]] for rank in ranks]
    assert set(post(client, "/rerank", query=query, texts=texts)[0]) == {"index", "score"}


@pytest.mark.parametrize(
    ("texts", "which"), [(["头", "血" * 300], "text 1 "), (["头"], "the query ")]
)
def test_a_text_that_is_too_long_is_told_by_its_place(client, texts, which):
    query = "头痛" if len(texts) > 1 else "血" * 300
    inputs = {"source_sentence": query, "sentences": texts}
    for path, body in (
        ("/rerank", {"query": query, "texts": texts, "truncate": False}),
        ("/similarity", {"inputs": inputs, "parameters": {"truncate": False}}),
    ):
        status, told = refused(client, path, **body)
        assert (status, told["code"]) == (422, "too_long")
        assert told["message"].startswith(which)


def test_tei_info(client, encoder):
    info = client.get("/info").json()
    assert info["model_id"] == "tiny"
    assert info["model_sha"] == encoder.fingerprint
    assert info["model_type"] == {"embedding": {"pooling": "cls"}}
    assert info["max_input_length"] == 128


def test_the_cards_shape(client, encoder):
    found = post(
        client,
        "/v1/similarity",
        source_sentence=TEXTS[:1],
        sentences_to_compare=TEXTS[1:],
        embeddings=True,
    )
    queries, passages = encoder.encode_queries(TEXTS[:1]), encoder.encode_passages(TEXTS[1:])
    assert np.abs(np.array(found["text_embedding"][1:]) - passages).max() < 1e-5
    assert np.allclose(found["scores"], (queries @ passages.T)[0], rtol=1e-4)
    assert found["truncated"] == [2]


def test_the_cards_shape_with_sources_only(client, encoder):
    found = post(client, "/v1/similarity", source_sentence=TEXTS, score="cosine", matrix=True)
    vectors = encoder.encode_queries(TEXTS, normalize=True)
    assert np.allclose(found["matrix"], vectors @ vectors.T, atol=1e-5)
    assert np.allclose(found["scores"], (vectors @ vectors.T)[0, 1:], atol=1e-5)
    assert post(client, "/v1/similarity", source_sentence="头")["scores"] == []


def test_a_matrix_has_a_most(client):
    for sources, others in ((512, 0), (500, 12), (1, 511)):
        body = {"source_sentence": ["痛"] * sources, "sentences_to_compare": ["血"] * others}
        found = post(client, "/v1/similarity", **body, matrix=True)
        assert np.array(found["matrix"]).shape == (512, 512)
        body["sentences_to_compare"].append("血")
        status, told = refused(client, "/v1/similarity", **body, matrix=True)
        assert (status, told["param"]) == (422, "matrix")
        assert "at most 512 texts, not 513" in told["message"]
        assert len(post(client, "/v1/similarity", **body)["scores"]) == 512


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": TEXTS}),
        ("/embed", {"inputs": TEXTS}),
        ("/v1/similarity", {"source_sentence": TEXTS, "matrix": True, "embeddings": True}),
    ],
)
def test_many_numbers_are_written_off_the_event_loop(client, monkeypatch, path, body):
    loops = []

    def watched(value):
        loops.append(asyncio._get_running_loop())
        return to_json(value)

    monkeypatch.setattr(writing, "to_json", watched)
    few = post(client, path, **body)
    assert None not in loops
    loops.clear()
    monkeypatch.setattr(writing, "_MANY_NUMBERS", 2)
    assert post(client, path, **body) == few
    assert len(loops) >= len(TEXTS)
    assert set(loops) == {None}
