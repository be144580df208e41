"""From passages to an index folder, in one call."""

from __future__ import annotations

from functools import partial

import pytest

from corom.encoder import Encoder
from corom.errors import InputError
from corom.index import BM25Options, IndexSpec, Where, building, open_index
from corom.index.building import build_index
from corom.records import Passage, Query
from corom.search import Searcher
from corom.splitting import Splitter
from index.samples import passages, spec_for

WORDS = IndexSpec(options=BM25Options(cut="bigrams"))


@pytest.mark.parametrize("n", [0, 1, 25])
def test_every_passage_is_in_it(encoder, tmp_path, monkeypatch, n):
    monkeypatch.setattr(building, "_CHUNK", 8)
    done = []
    size = build_index(
        tmp_path / "index",
        iter(passages(n)),
        spec=spec_for(encoder),
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
    spec = spec_for(encoder, dim=8)
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
        build_index(tmp_path / "b", passages(2), spec=spec_for(encoder))
    with pytest.raises(InputError, match="fingerprint is not the encoder's"):
        build_index(
            tmp_path / "c", passages(2), spec=spec_for(encoder, fingerprint="ff"), encoder=encoder
        )


def test_equal_ids_are_refused(tmp_path):
    pytest.importorskip("tantivy")
    with pytest.raises(InputError, match="'1' occurs twice"):
        build_index(tmp_path / "index", passages(2, ids=["1", "1"]), spec=WORDS)


LONG = "糖尿病要注意饮食。高血压患者要休息。头痛发热吃什么药？"


class TestParts:
    """Whole texts in, their parts with mixed vectors in the index."""

    TEXTS = (
        Passage("a", LONG, "糖尿病"),
        Passage("b", "咳嗽"),
        *(Passage(str(n), LONG[n:] + LONG, "头痛") for n in range(9)),
    )

    @pytest.fixture
    def checkpoint(self, tiny_checkpoint):
        return tiny_checkpoint()

    @pytest.fixture
    def encoder(self, checkpoint):
        return Encoder(checkpoint, precision="fp32")

    @pytest.fixture
    def splitter(self, checkpoint):
        return Splitter(checkpoint, max_tokens=16)

    @pytest.mark.parametrize(("share", "dim"), [(0.0, 32), (0.4, 32), (0.4, 8)])
    def test_each_part_has_its_share_of_the_whole(self, encoder, splitter, tmp_path, share, dim):
        spec = spec_for(encoder, dim=dim, part_tokens=16, whole_share=share)
        made = {"spec": spec, "encoder": encoder, "splitter": splitter}
        size = build_index(tmp_path / "index", iter(self.TEXTS), **made)
        index = open_index(tmp_path / "index")
        parts = list(splitter.split(self.TEXTS))
        assert size == len(index) == len(parts) > len(self.TEXTS)
        wholes = {text.id: text.content for text in self.TEXTS}
        encode = partial(encoder.encode_passages, normalize=True, truncate_dim=dim)
        own = encode([part.passage.content for part in parts])
        whole = encode([wholes[part.document] for part in parts])
        query = encoder.encode_queries(["头痛"], normalize=True, truncate_dim=dim)
        products = ((1 - share) * own + share * whole) @ query[0]
        found = {hit.id: hit.score for hit in index.search(query, size)[0]}
        assert found == pytest.approx(
            {p.passage.id: score for p, score in zip(parts, products.tolist(), strict=True)},
            abs=1e-5,
        )
        # By default a search finds each text once.
        searcher = Searcher(index, encoder=encoder)
        hits = searcher.search(["头痛"], 99)[0]
        assert len(hits) == len(self.TEXTS)
        assert len(searcher.search(["头痛"], 99, by_document=False)[0]) == size
        run = searcher.run([Query("1", "头痛")])["1"]
        assert {hit.id for hit in run} == set(wholes)
        assert [hit.score for hit in run] == [hit.score for hit in hits]

    def test_what_was_interrupted_goes_on(self, encoder, splitter, tmp_path, monkeypatch):
        monkeypatch.setattr(building, "_CHUNK", 5)
        spec = spec_for(encoder, part_tokens=16, whole_share=0.5)
        made = {"spec": spec, "encoder": encoder, "splitter": splitter}
        build_index(tmp_path / "whole", self.TEXTS, **made)

        def breaks():
            yield from self.TEXTS[:4]
            raise OSError("the disk is gone")

        monkeypatch.setattr("corom.splitting._AT_ONCE", 1)
        with pytest.raises(OSError, match="gone"):
            build_index(tmp_path / "index", breaks(), **made)
        size = build_index(tmp_path / "index", self.TEXTS, **made)
        query = encoder.encode_queries(["头痛"], normalize=True)
        whole, again = (open_index(tmp_path / name) for name in ("whole", "index"))
        expected = {hit.id: hit.score for hit in whole.search(query, size)[0]}
        assert {hit.id: hit.score for hit in again.search(query, size)[0]} == pytest.approx(
            expected, abs=1e-5
        )

    def test_an_id_that_occurs_twice(self, encoder, splitter, tmp_path):
        spec = spec_for(encoder, part_tokens=16, whole_share=0.5)
        twice = [self.TEXTS[0], self.TEXTS[1], self.TEXTS[0]]
        with pytest.raises(InputError, match="'a#1' occurs twice"):
            build_index(tmp_path / "index", twice, spec=spec, encoder=encoder, splitter=splitter)

    def test_words(self, splitter, tmp_path):
        pytest.importorskip("tantivy")
        spec = IndexSpec(options=BM25Options(cut="bigrams"), part_tokens=16)
        size = build_index(tmp_path / "index", self.TEXTS, spec=spec, splitter=splitter)
        assert size == len(list(splitter.split(self.TEXTS)))
        found = Searcher(words=open_index(tmp_path / "index")).search(["咳嗽"])[0]
        assert [hit.id for hit in found] == ["b"]

    def test_parts_have_the_fields_of_their_text(self, splitter, tmp_path):
        pytest.importorskip("tantivy")
        texts = [text._replace(fields={"department": text.id}) for text in self.TEXTS]
        spec = IndexSpec(options=BM25Options(cut="bigrams"), part_tokens=16, keep=("department",))
        size = build_index(tmp_path / "index", texts, spec=spec, splitter=splitter)
        index = open_index(tmp_path / "index")
        for text in texts:
            some = index.only([Where(column="department", among=(text.id,))])
            found = [hit.id for hit in some.search([text.text], size)[0]]
            parts = [part.passage.id for part in splitter.split([text])]
            assert sorted(found) == sorted(parts)

    def test_a_splitter_too_many_or_another(self, checkpoint, encoder, splitter, tmp_path):
        made = {"encoder": encoder, "splitter": splitter}
        for tokens in (0, 32):
            spec = spec_for(encoder, part_tokens=tokens)
            with pytest.raises(InputError, match=f"the spec has part_tokens {tokens}"):
                build_index(tmp_path / f"{tokens}", self.TEXTS, spec=spec, **made)
        long = Splitter(checkpoint, max_tokens=300)
        with pytest.raises(InputError, match="longer than the 128 that the encoder reads"):
            build_index(
                tmp_path / "long",
                self.TEXTS,
                spec=spec_for(encoder, part_tokens=300),
                encoder=encoder,
                splitter=long,
            )
        spec = spec_for(encoder, part_tokens=16)
        with pytest.raises(InputError, match="the spec has part_tokens 16"):
            build_index(tmp_path / "none", self.TEXTS, spec=spec, encoder=encoder)
