"""From passages to an index folder, in one call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corom.encoder import Encoder
from corom.errors import InputError
from corom.index import BM25Options, ExactOptions, IndexSpec, building, open_index
from corom.index.building import build_index
from index.samples import passages

WORDS = IndexSpec(options=BM25Options(cut="bigrams"))


@pytest.fixture
def encoder(tiny_checkpoint: Callable) -> Encoder:
    return Encoder.load(tiny_checkpoint().folder, precision="fp32")


def spec_of(encoder, **changes):
    values = {"dim": encoder.dim, "fingerprint": encoder.fingerprint, "normalized": True}
    return IndexSpec(options=ExactOptions(), **{**values, **changes})


@pytest.mark.parametrize("n", [0, 1, 25])
def test_every_passage_is_in_it(encoder, tmp_path, monkeypatch, n):
    monkeypatch.setattr(building, "_CHUNK", 8)
    done = []
    size = build_index(
        tmp_path / "index",
        iter(passages(n)),
        spec=spec_of(encoder),
        encoder=encoder,
        progress=lambda so_far: done.append(so_far.done),
    )
    index = open_index(tmp_path / "index", fingerprint=encoder.fingerprint)
    assert size == len(index) == n
    assert max(done, default=0) == n
    for passage in passages(n):
        query = encoder.encode_passages([passage.content], normalize=True)
        assert index.search(query, n)[0][0].score == pytest.approx(1, abs=1e-5)
        assert index.passages([passage.id]) == [passage]


def test_a_shorter_vector_is_the_beginning_scaled(encoder, tmp_path):
    spec = spec_of(encoder, dim=8)
    build_index(tmp_path / "index", passages(5), spec=spec, encoder=encoder)
    text = passages(5)[2].content
    query = encoder.encode_passages([text], normalize=True, truncate_dim=8)
    assert open_index(tmp_path / "index").search(query, 1)[0][0].score == pytest.approx(1, abs=1e-5)


def test_a_finished_index_is_left_as_it_is(tmp_path):
    pytest.importorskip("tantivy")
    build_index(tmp_path / "index", passages(9), spec=WORDS)

    def files():  # but for the lock
        found = (tmp_path / "index").rglob("[!.]*")
        return {path: path.stat().st_mtime_ns for path in found}

    before = files()
    assert build_index(tmp_path / "index", passages(20), spec=WORDS) == 9
    assert files() == before


def test_what_was_interrupted_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("tantivy")
    monkeypatch.setattr(building, "_CHUNK", 4)

    def breaks():
        yield from passages(10)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        build_index(tmp_path / "index", breaks(), spec=WORDS)
    read = []

    def told():
        for passage in passages(25):
            read.append(passage.id)
            yield passage

    assert build_index(tmp_path / "index", told(), spec=WORDS) == 25
    whole = tmp_path / "whole"
    build_index(whole, passages(25), spec=WORDS)
    asked = ["糖尿病吃什么药", "失眠"]
    found = open_index(tmp_path / "index").search(asked, 25)
    assert found == open_index(whole).search(asked, 25)
    assert len(read) == 25


def test_an_encoder_too_many_too_few_or_another(encoder, tmp_path):
    with pytest.raises(InputError, match="one of words takes none"):
        build_index(tmp_path / "a", passages(2), spec=WORDS, encoder=encoder)
    with pytest.raises(InputError, match="needs an encoder"):
        build_index(tmp_path / "b", passages(2), spec=spec_of(encoder))
    with pytest.raises(InputError, match="fingerprint is not the encoder's"):
        build_index(
            tmp_path / "c", passages(2), spec=spec_of(encoder, fingerprint="ff"), encoder=encoder
        )


def test_equal_ids_are_refused(tmp_path):
    pytest.importorskip("tantivy")
    with pytest.raises(InputError, match="'1' occurs twice"):
        build_index(tmp_path / "index", passages(2, ids=["1", "1"]), spec=WORDS)
