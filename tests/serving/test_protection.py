"""Who is let in, what is refused, and that no text of a user is told to anyone."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from corom.errors import FormatError, InputError
from corom.serving import keys, settings
from corom.serving.keys import KeyRing, add_key
from corom.serving.settings import ServeSettings
from serving.asking import refusal, until

MARK = "CANARY患者张三7391"


def embed(client, text="头痛", **headers):
    return client.post("/v1/embeddings", json={"input": text}, headers=headers)


def test_without_a_key_only_this_machine_may_ask():
    with pytest.raises(InputError, match="API key"):
        ServeSettings(host="0.0.0.0")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"port": 70_000}, {"port": -1}, {"timeout_s": 0}, {"drain_s": float("nan")}),
        *({"max_requests": -1}, {"max_requests": 2.5}, {"names": ("",)}),
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(InputError):
        ServeSettings(**wrong)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_name_that_was_made_to_point_here_is_refused(client, host):
    answer = embed(client, host=host)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_host")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:1", "[::1]:80", "localhost"])
def test_this_machines_own_names_are_answered(client, host):
    assert embed(client, host=host).status_code == 200


def test_keys_open_the_api_and_nothing_else_does(serve, keys_file):
    key = add_key(keys_file, "ward-3")
    client = serve(keys_file=keys_file, host="0.0.0.0")
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {key}"}):
        answer = embed(client, **headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/openapi.json", headers=headers).status_code == 401
    assert embed(client, authorization=f"Bearer {key}", host="any.example").status_code == 200
    assert embed(client, authorization=f"bearer  {key} ").status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/").status_code == 200


def test_a_key_is_revoked_without_a_restart(serve, keys_file, monkeypatch):
    monkeypatch.setattr(keys, "_LOOK_AGAIN_S", 0)
    first, second = add_key(keys_file, "a"), add_key(keys_file, "b")
    client = serve(keys_file=keys_file)
    assert embed(client, authorization=f"Bearer {second}").status_code == 200
    lines = keys_file.read_text().splitlines(keepends=True)
    keys_file.write_text("".join(line for line in lines if not line.startswith("b ")))
    assert embed(client, authorization=f"Bearer {second}").status_code == 401
    assert embed(client, authorization=f"Bearer {first}").status_code == 200


def test_a_broken_or_missing_file_refuses_every_key(keys_file, monkeypatch, caplog):
    monkeypatch.setattr(keys, "_LOOK_AGAIN_S", 0)
    key = add_key(keys_file, "a")
    ring = KeyRing(keys_file)
    good = keys_file.read_text()
    assert ring.name_of(key) == "a"
    for content in (good + "b nonsense\n", None):
        keys_file.write_text(content) if content else keys_file.unlink()
        assert ring.name_of(key) is None
    assert "all keys are refused" in caplog.text
    keys_file.write_text(good)
    assert ring.name_of(key) == "a"


def test_the_file_holds_hashes_only(keys_file):
    key = add_key(keys_file, "a")
    assert len(key) > 40
    assert key not in keys_file.read_text()
    with pytest.raises(InputError, match="already"):
        add_key(keys_file, "a")
    with pytest.raises(InputError, match="letters"):
        add_key(keys_file, "a b")
    keys_file.write_text("a abc\n")
    with pytest.raises(FormatError, match="line 1"):
        KeyRing(keys_file)


def test_keys_that_are_made_at_once_are_all_kept(keys_file):
    script = (
        "import sys; from pathlib import Path; from corom.serving.keys import add_key\n"
        "for n in range(20): add_key(Path(sys.argv[1]), f'{sys.argv[2]}-{n}')"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", script, str(keys_file), who]) for who in "abcd"
    ]
    assert [maker.wait(120) for maker in makers] == [0] * 4
    names = {line.split()[0] for line in keys_file.read_text().splitlines()[1:]}
    assert names == {f"{who}-{n}" for who in "abcd" for n in range(20)}


def test_the_file_keeps_who_may_read_it(keys_file, tmp_path, monkeypatch):
    add_key(keys_file, "a")
    assert keys_file.stat().st_mode & 0o777 == 0o640
    keys_file.chmod(0o604)
    link = tmp_path / "link"
    link.symlink_to(keys_file)
    owners = []
    monkeypatch.setattr(keys.os, "fchown", lambda _, *owner: owners.append(owner))
    add_key(link, "b")
    assert link.is_symlink()
    assert keys_file.stat().st_mode & 0o777 == 0o604
    status = keys_file.stat()
    assert owners == [(status.st_uid, status.st_gid)]
    assert len(keys_file.read_text().splitlines()) == 3

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(keys.os, "fchown", refuse)
    before = keys_file.read_text()
    with pytest.raises(InputError, match=r"as its owner or as root"):
        add_key(keys_file, "c")
    assert keys_file.read_text() == before
    assert not list(tmp_path.glob(".keys.txt.*.part"))


def test_odd_keys_are_just_wrong(serve, keys_file):
    add_key(keys_file, "a")
    client = serve(keys_file=keys_file)
    for key in ("", "é", "\udcff", "x" * 10_000):
        raw = f"Bearer {key}".encode("utf-8", "surrogateescape")
        answer = client.post("/embed", json={"inputs": "头"}, headers={b"authorization": raw})
        assert answer.status_code == 401


def test_a_large_body_is_refused(client, monkeypatch):
    answer = client.post("/v1/embeddings", content=b"x" * (settings.MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    def drip():
        for _ in range(5):
            yield b"x" * (1 << 20)

    assert client.post("/v1/embeddings", content=drip()).status_code == 413


def test_bodies_together_are_bounded(serve):
    client = serve(max_held_bytes=1000)
    answer = embed(client, "头" * 1000)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert embed(client).status_code == 200


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/healthz", "/readyz"])
def test_what_needs_no_key_takes_no_room(serve, keys_file, path):
    """A client without a key sends bodies where no key is asked for: they are not waited for."""
    add_key(keys_file, "a")
    client = serve(keys_file=keys_file, max_held_bytes=1000, max_requests=1)
    client.service.door.inside = 1  # as many as may be
    assert client.get(path).status_code == 200
    answer = client.post(path, content=b"x" * 2000)
    assert (answer.status_code, "GET" in answer.headers["allow"]) == (405, True)
    assert post_slowly(client.app, path) == 405
    assert client.service.door.inside == 1


def post_slowly(app, path):
    """Return the status of a POST whose body never ends."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")],
    }
    statuses = []

    async def receive():
        await asyncio.sleep(3600)

    async def send(message):
        statuses.append(message.get("status"))

    async def ask():
        async with asyncio.timeout(10):
            await app(scope, receive, send)

    asyncio.run(ask())
    return statuses[0]


def test_a_late_answer_is_a_504(serve):
    client = serve(timeout_s=0.000_01)
    answer = embed(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


def test_a_body_must_be_declared_as_json(client):
    body = '{"input": "头"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("/v1/embeddings", content=body, headers={"content-type": kind})
        assert answer.status_code == 422


def test_while_draining_newcomers_are_told(client):
    client.service.door.draining = True
    for answer in (embed(client), client.get("/readyz"), client.get("/v1/models")):
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    assert client.get("/healthz").status_code == 200


def test_more_requests_than_allowed_are_told_at_once(client):
    client.service.door.inside = client.service.settings.max_requests
    answer = embed(client)
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"


def test_every_answer_has_the_security_headers(client):
    for answer in (client.get("/"), client.get("/nowhere"), embed(client), client.get("/healthz")):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers["x-request-id"]) == 32
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


def test_no_other_origin_is_allowed(client):
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = client.options("/v1/embeddings", headers=headers)
    assert "access-control-allow-origin" not in answer.headers


def test_the_model_is_probed(client, encoder, monkeypatch):
    assert client.get("/readyz").status_code == 200

    def fail(batches, receive):
        raise RuntimeError(MARK)

    monkeypatch.setattr(encoder, "run", fail)
    # The run that answered above may still be asking for more, and takes a quick request, too.
    until(lambda: client.get("/readyz").status_code != 200)
    assert refusal(client.get("/readyz"))[1]["code"] == "not_ready"
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


REQUESTS = (
    lambda client: client.post("/v1/embeddings", json={"input": MARK}),
    lambda client: client.post("/v1/embeddings", json={"input": [MARK, ""]}),
    lambda client: client.post("/v1/embeddings", json={"input": [MARK, 3]}),
    lambda client: client.post("/v1/embeddings", json={"input": {MARK: MARK}}),
    lambda client: client.post("/v1/embeddings", json={MARK: MARK}),
    lambda client: client.post("/v1/embeddings", json={"input": "头", "encoding_format": MARK}),
    lambda client: client.post("/v1/embeddings", json={"input": "头", "model": MARK}),
    lambda client: client.post("/v1/embeddings", json={"input": MARK, "dimensions": 99}),
    lambda client: client.post("/v1/embeddings", content=f'{{"input": "{MARK}'.encode()),
    lambda client: client.post("/embed", json={"inputs": MARK * 100, "truncate": False}),
    lambda client: client.post("/rerank", json={"query": MARK, "texts": [MARK, None]}),
    lambda client: client.post("/v1/rerank", json={"query": MARK, "documents": [MARK]}),
    lambda client: client.post("/v1/rerank", json={"query": "头", "documents": [], "model": MARK}),
    lambda client: client.post("/similarity", json={"inputs": {"source_sentence": MARK}}),
    lambda client: client.post("/v1/similarity", json={"source_sentence": MARK, "score": MARK}),
    lambda client: client.post("/v1/search", json={"query": MARK, "k": MARK}),
    lambda client: client.post("/v1/search", json={"query": MARK}),
    lambda client: client.post("/v1/search", json={"query": MARK, "where": {MARK: [MARK]}}),
    lambda client: client.post("/v1/search", json={"query": "头", "where": {MARK: MARK}}),
    lambda client: client.post("/v1/search", json={"query": "头", "where": {MARK: {"gt": 3}}}),
    lambda client: client.post("/v1/search", json={"query": "头", "where": {"a": {MARK: MARK}}}),
    lambda client: client.post("/v1/map", json={"query": MARK}),
    lambda client: client.get("/v1/embeddings", params={"input": MARK}),
    lambda client: client.get(f"/{MARK}"),
    lambda client: client.get(f"/v1/models/{MARK}"),
    lambda client: client.post("/embed", json={}, headers={"x-request-id": "CANARY7391"}),
    lambda client: client.post("/embed", json={}, headers={"authorization": "Bearer CANARY7391"}),
)


def test_the_canary_is_nowhere(client, encoder, caplog, monkeypatch):
    """1,000 requests with a marked text, of which some fail inside: no trace of the mark."""
    caplog.set_level(logging.DEBUG)
    run = encoder.run

    def sometimes(batches, receive):
        if time.perf_counter_ns() % 5 == 0:
            raise RuntimeError(MARK)
        run(batches, receive)

    monkeypatch.setattr(encoder, "run", sometimes)
    told = []
    for number in range(1000):
        answer = REQUESTS[number % len(REQUESTS)](client)
        if answer.status_code != 200:
            told.append(answer.text + str(answer.headers))
    metrics = client.get("/metrics").text
    own = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("httpx"))
    for place in (own, *told, metrics):
        assert "CANARY" not in place
        assert "张三" not in place
    assert own.count("POST /v1/embeddings") > 300
    assert 'route="/v1/embeddings"' in metrics


def test_an_exception_tells_its_place_and_not_its_message(client, monkeypatch, caplog):
    def fail(*_args, **_options):
        raise ValueError(MARK)

    monkeypatch.setattr(client.service, "embed", fail)
    answer = embed(client, MARK)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "ValueError at" in caplog.text
    assert "test_protection.py" in caplog.text
    assert "CANARY" not in caplog.text + answer.text
