"""A served index that changes in its folder."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("tantivy", reason="the lexical extra is not installed")

from fastapi.testclient import TestClient

from corom.encoder import Encoder
from corom.errors import InputError
from corom.files import MANIFEST
from corom.index import BM25Options, ExactOptions, IndexSpec, open_writer
from corom.index.building import build_index
from corom.index.updating import update_index
from corom.records import Passage
from corom.serving import service
from corom.serving.collection import Collection
from corom.serving.folders import Folders
from serving.asking import post, until

TEXTS = ["糖尿病饮食", "头痛发热", "咳嗽"]
CORPUS = [Passage(str(number), text) for number, text in enumerate(TEXTS)]
NEW = Passage("new", "糖尿病吃什么药")
WORDS = IndexSpec(options=BM25Options(cut="bigrams"))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_LOOK_AGAIN_S", 0.01)


@pytest.fixture
def index(encoder: Encoder, tmp_path: Path) -> Path:
    spec = IndexSpec.for_encoder(encoder, normalized=False)
    build_index(tmp_path / "index", CORPUS, spec=spec, encoder=encoder)
    return tmp_path / "index"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    build_index(tmp_path / "words", CORPUS, spec=WORDS)
    return tmp_path / "words"


def ids(client: TestClient, mode: str = "dense") -> set[str]:
    return {hit["id"] for hit in post(client, "/v1/search", query=NEW.text, mode=mode, k=9)["hits"]}


def passages(client: TestClient) -> int:
    return client.get("/v1/about").json()["collection"]["passages"]


def serve_folders(serve: Callable, index: Path | None, words: Path | None = None) -> TestClient:
    folders = Folders(index, words)
    return serve(collection=folders.open(), folders=folders)


def test_what_was_added_is_found(serve: Callable, encoder: Encoder, index: Path) -> None:
    client = serve_folders(serve, index)
    shown = client.get("/v1/map").json()
    assert (ids(client), shown["passages"]) == ({"0", "1", "2"}, 3)
    update_index(index, lambda: [*CORPUS[1:], NEW, Passage("more", "失眠")], encoder=encoder)
    until(lambda: passages(client) == 4)
    assert ids(client) == {"1", "2", "new", "more"}
    drawn = client.get("/v1/map").json()
    assert {point["id"] for point in drawn["points"]} == ids(client)
    for path, body in (("place", {"query": "头痛"}), ("near", {"row": 0})):
        old, new = (
            client.post(f"/v1/map/{path}", json={**body, "checksum": each["checksum"]})
            for each in (shown, drawn)
        )
        assert (old.status_code, old.json()["error"]["code"]) == (409, "map_changed")
        assert new.status_code == 200
    assert "corom_passages 4.0" in client.get("/metrics").text


def test_both_indexes_change_before_it_counts(
    serve: Callable,
    encoder: Encoder,
    index: Path,
    words: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = serve_folders(serve, index, words)
    with caplog.at_level(logging.INFO):
        update_index(index, lambda: [*CORPUS, NEW], encoder=encoder)
        until(lambda: "is not taken up: the index of vectors holds 4 passages" in caplog.text)
        assert (passages(client), ids(client)) == (3, {"0", "1", "2"})
        assert "corom_index_stale 1.0" in client.get("/metrics").text
        update_index(words, lambda: [*CORPUS, NEW])
        until(lambda: passages(client) == 4)
    assert "new" in ids(client) & ids(client, "bm25")
    assert caplog.text.count("is not taken up") == 1
    assert "corom_index_stale 0.0" in client.get("/metrics").text
    assert NEW.text not in caplog.text


def test_what_cannot_be_opened_is_not_served(
    serve: Callable, index: Path, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve_folders(serve, index)
    other = IndexSpec(options=ExactOptions(), dim=encoder.dim, fingerprint="of another")
    shutil.rmtree(index)
    assert ids(client) == {"0", "1", "2"}
    with open_writer(index, other) as writer:  # made anew, for now by another model
        writer.append([NEW], encoder.encode_passages([NEW.text]))
        time.sleep(0.1)
        assert "not taken up" not in caplog.text  # it is not finished
        writer.finish()
    until(lambda: "made with the encoder 'of another'" in caplog.text)
    assert ids(client) == {"0", "1", "2"}
    shutil.rmtree(index)
    spec = IndexSpec.for_encoder(encoder, normalized=False)
    build_index(index, [NEW], spec=spec, encoder=encoder)
    until(lambda: ids(client) == {"new"})


def test_a_shorter_dimension_is_followed(serve: Callable, index: Path, encoder: Encoder) -> None:
    client = serve_folders(serve, index)
    shutil.rmtree(index)
    spec = IndexSpec.for_encoder(encoder, normalized=False, dim=8)
    build_index(index, [NEW], spec=spec, encoder=encoder)
    until(lambda: ids(client) == {"new"})


def test_a_folder_that_is_being_copied_is_tried_again(
    serve: Callable, index: Path, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve_folders(serve, index)
    spec = IndexSpec.for_encoder(encoder, normalized=False)
    build_index(index.with_name("new"), [NEW, *CORPUS], spec=spec, encoder=encoder)
    for name in [MANIFEST, *(path.name for path in index.with_name("new").iterdir())]:
        shutil.copy(index.with_name("new") / name, index / "copied")  # as rsync does
        (index / "copied").replace(index / name)
        until(lambda: "is not taken up" in caplog.text)
    until(lambda: passages(client) == 4)
    assert "corom_index_stale 0.0" in client.get("/metrics").text


def test_whatever_goes_wrong_it_looks_again(
    serve: Callable,
    index: Path,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = serve_folders(serve, index)
    with monkeypatch.context() as broken:
        broken.setattr(Folders, "changed", lambda _: {}["a text"])
        until(lambda: "is not taken up: KeyError at " in caplog.text)
        assert "corom_index_stale 1.0" in client.get("/metrics").text
    update_index(index, lambda: [*CORPUS, NEW], encoder=encoder)
    until(lambda: passages(client) == 4)
    assert caplog.text.count("is not taken up") == 1
    assert "a text" not in caplog.text


def test_an_index_that_is_put_back_is_not_stale(
    serve: Callable, index: Path, encoder: Encoder
) -> None:
    client = serve_folders(serve, index)
    index.rename(index.with_name("before"))
    other = IndexSpec(options=ExactOptions(), dim=encoder.dim, fingerprint="of another")
    with open_writer(index, other) as writer:
        writer.append([NEW], encoder.encode_passages([NEW.text]))
        writer.finish()
    until(lambda: "corom_index_stale 1.0" in client.get("/metrics").text)
    index.rename(index.with_name("other"))
    index.with_name("before").rename(index)
    until(lambda: "corom_index_stale 0.0" in client.get("/metrics").text)
    assert ids(client) == {"0", "1", "2"}


def test_what_could_not_be_searched_is_tried_again(
    serve: Callable,
    index: Path,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = serve_folders(serve, index)
    with monkeypatch.context() as broken:
        broken.setattr(Collection, "searcher", lambda *_, **__: 1 // 0)  # memory is short, say
        update_index(index, lambda: [*CORPUS, NEW], encoder=encoder)
        until(lambda: "is not taken up: ZeroDivisionError at " in caplog.text)
    until(lambda: passages(client) == 4)


def test_which_indexes_go_together(index: Path, words: Path) -> None:
    assert Folders(words, None).open().modes == Folders(None, words).open().modes == ("bm25",)
    assert Folders(index, words).open().modes == ("dense", "bm25", "both")
    build_index(words.with_name("other"), [*CORPUS[1:], NEW], spec=WORDS)
    with pytest.raises(InputError, match="holds other ids than that of words"):
        Folders(index, words.with_name("other")).open()
    with pytest.raises(InputError, match="index is not an index of words"):
        Folders(None, index).open()
    with pytest.raises(InputError, match="is an index of words itself"):
        Folders(words, words).open()


def test_what_has_not_changed(index: Path) -> None:
    folders = Folders(index, None)
    folders.open()
    assert not folders.changed()
    with open_writer(index) as writer:
        writer.remove(["1"])
        assert not folders.changed()
        writer.finish()
    assert folders.changed()
    folders.open()
    assert not folders.changed()
