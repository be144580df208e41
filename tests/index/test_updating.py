"""An index that follows its corpus."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from corom.corpus import CorpusChecksum
from corom.errors import ArtifactError, InputError
from corom.files import MANIFEST
from corom.index import (
    BM25Options,
    ExactOptions,
    HnswOptions,
    IndexSpec,
    Where,
    open_index,
    open_writer,
)
from corom.index.building import build_index
from corom.index.updating import Change, update_index
from corom.records import Passage
from corom.splitting import Splitter
from index.samples import passages, spec_for

pytest.importorskip("tantivy")

WORDS = IndexSpec(options=BM25Options(cut="bigrams"))
LONG = "患者头痛三天，伴有恶心。" * 12


@pytest.fixture
def folder(tmp_path):
    build_index(tmp_path / "index", passages(25), spec=WORDS)
    return tmp_path / "index"


def source_of(corpus):
    return CorpusChecksum(corpus).hexdigest()


def changed(corpus):
    """The corpus in another order, without two of its passages, two others changed, one new."""
    texts = [corpus[4]._replace(text="另一段文字"), corpus[7]._replace(title="另一个标题")]
    return [Passage("new", "新的病历"), *reversed(corpus[8:]), *texts, *corpus[:4]]


@pytest.mark.parametrize("options", [ExactOptions(precision="int8"), HnswOptions()])
def test_it_answers_as_one_made_at_once(encoder, tmp_path, options, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr("corom.index.ann.LEAST", 10)
    spec = replace(spec_for(encoder), options=options)
    build_index(tmp_path / "index", passages(25), spec=spec, encoder=encoder)
    expected, encoded = [], []
    change = update_index(
        tmp_path / "index",
        lambda: iter(changed(passages(25))),
        spec=replace(spec, source="does not count"),
        encoder=encoder,
        expect=expected.append,
        progress=lambda so_far: encoded.append(so_far.done),
    )
    assert change == Change(added=1, changed=2, removed=2, kept=21)
    assert (expected, encoded[-1]) == ([3], 3)
    build_index(tmp_path / "new", changed(passages(25)), spec=spec, encoder=encoder)
    index, new = open_index(tmp_path / "index"), open_index(tmp_path / "new")
    queries = encoder.encode_queries(["新的病历", "失眠", "糖尿病吃什么药"], normalize=True)
    for found, wanted in zip(index.search(queries, 30), new.search(queries, 30), strict=True):
        assert [hit.id for hit in found] == [hit.id for hit in wanted]
        assert [hit.score for hit in found] == pytest.approx(
            [hit.score for hit in wanted], abs=1e-5
        )
    assert index.passages(["new", passages(25)[7].id])[1].title == "另一个标题"
    assert index.spec.source == source_of(changed(passages(25)))


def test_one_of_words(folder, tmp_path):
    update_index(folder, lambda: changed(passages(25)))
    build_index(tmp_path / "new", changed(passages(25)), spec=WORDS)
    asked = ["糖尿病吃什么药", "新的病历"]
    assert open_index(folder).search(asked, 30) == open_index(tmp_path / "new").search(asked, 30)


def test_a_changed_field_is_a_change(tmp_path):
    corpus = [
        passage._replace(fields={"department": "儿科", "date": f"{n:02}"})
        for n, passage in enumerate(passages(25))
    ]
    build_index(tmp_path, corpus, spec=replace(WORDS, keep=("department", "date")))
    assert update_index(tmp_path, lambda: corpus) == Change(0, 0, 0, 25)
    moved = [corpus[0]._replace(fields={"date": "00", "department": "内科"})]
    same = [corpus[1]._replace(fields=dict(reversed(corpus[1].fields.items())))]
    after = [*moved, *same, corpus[2]._replace(fields={}), *corpus[3:]]
    assert update_index(tmp_path, lambda: after) == Change(0, 2, 0, 23)
    index = open_index(tmp_path)
    assert index.passages([corpus[0].id]) == moved
    assert len(index.only([Where(column="department", among=("儿科",))])) == 23
    with pytest.raises(InputError, match="the index keeps department, date"):
        update_index(tmp_path, lambda: [corpus[0]._replace(fields={"other": "1"})])


def test_the_same_corpus_changes_nothing(folder):
    update_index(folder, lambda: passages(25))
    before = (folder / MANIFEST).read_bytes()
    assert update_index(folder, lambda: passages(25)) == Change(0, 0, 0, 25)
    assert (folder / MANIFEST).read_bytes() == before
    assert update_index(folder, lambda: passages(25)[::-1]) == Change(0, 0, 0, 25)
    assert open_index(folder).spec.source == source_of(passages(25)[::-1])
    other = json.loads(before)["files"]  # of the order alone no words are counted again
    assert json.loads((folder / MANIFEST).read_bytes())["files"] == other
    assert len(open_index(folder).search(["糖尿病"], 30)[0]) == 3


def test_another_corpus_altogether(folder):
    corpus = [Passage(f"x{n}", "痛风") for n in range(3)]
    assert update_index(folder, lambda: corpus) == Change(3, 0, 25, 0)
    index = open_index(folder)
    assert (len(index), index.collection.rows) == (3, 3)
    assert len(index.search(["痛风"], 9)[0]) == 3


def test_another_update_may_end_just_before(folder, monkeypatch):
    """Which corpus the index is of is asked when nobody else can change it."""

    def late(*given):
        monkeypatch.undo()
        update_index(folder, lambda: passages(20))
        return open_writer(*given)

    monkeypatch.setattr("corom.index.updating.open_writer", late)
    assert update_index(folder, lambda: passages(25), spec=WORDS) == Change(5, 0, 0, 20)


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("options", [BM25Options(), ExactOptions(precision="int8"), HnswOptions()])
def test_nothing_of_what_is_erased_is_left(encoder, tmp_path, options, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr("corom.index.ann.LEAST", 10)
    if isinstance(options, BM25Options):
        spec, made = IndexSpec(options=options), {}
    else:
        spec, made = replace(spec_for(encoder), options=options), {"encoder": encoder}
    canary = Passage("gone", "canaryofapatient")
    build_index(tmp_path / "index", [*passages(25), canary], spec=spec, **made)
    assert update_index(tmp_path / "index", lambda: passages(25), **made).removed == 1
    assert canary.text.encode() in bytes_of(tmp_path / "index")
    change = update_index(tmp_path / "index", lambda: passages(25), **made, erase=True)
    assert change == Change(0, 0, 0, 25)
    assert canary.text.encode() not in bytes_of(tmp_path / "index")
    index = open_index(tmp_path / "index")
    assert (len(index), index.collection.rows) == (25, 25)
    before = (tmp_path / "index" / MANIFEST).read_bytes()
    update_index(tmp_path / "index", lambda: passages(25), **made, erase=True)
    assert (tmp_path / "index" / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_long_text_changes_as_a_whole(model, encoder, tmp_path, share):
    spec = spec_for(encoder, part_tokens=24, whole_share=share)
    splitter = Splitter.load(model, max_tokens=24)
    corpus = [Passage("1", LONG), Passage("2", LONG + "发热。"), Passage("3", "咳嗽")]
    made = {"spec": spec, "encoder": encoder, "splitter": splitter}
    build_index(tmp_path / "index", corpus, **made)
    after = [Passage("1", LONG + "不适。"), Passage("2", LONG), corpus[2], Passage("4", LONG[:24])]
    assert update_index(tmp_path / "index", lambda: after, **made) == Change(1, 2, 0, 1)
    build_index(tmp_path / "new", after, **made)
    query = encoder.encode_queries(["头痛", "发热"], normalize=True)
    found, wanted = (open_index(tmp_path / name).search(query, 99) for name in ("index", "new"))
    for mine, other in zip(found, wanted, strict=True):
        assert [hit.id for hit in mine] == [hit.id for hit in other]
        assert [hit.score for hit in mine] == pytest.approx([hit.score for hit in other], abs=1e-5)


def test_what_is_refused_leaves_the_index_as_it_was(folder, encoder):

    def unexpected(_):
        pytest.fail("something would have been encoded")

    before = (folder / MANIFEST).read_bytes()
    twice, known = [*passages(3), passages(3)[0]], passages(25)
    for corpus, why in [
        ([], "holds no passages"),
        (twice, "occurs twice"),
        ([*known, Passage("a", "x"), Passage("a", "x")], "occurs twice"),
        ([*known, Passage("a", "x"), Passage("b", "x"), Passage("a", "y")], "occurs twice"),
        ([*known, known[3]._replace(text="x")], f"{known[3].id!r} occurs twice"),
    ]:
        with pytest.raises(InputError, match=why):
            update_index(folder, lambda corpus=corpus: corpus, expect=unexpected)
    with pytest.raises(InputError, match="one of words takes none"):
        update_index(folder, lambda: known, encoder=encoder)
    with pytest.raises(ArtifactError, match="something else"):
        update_index(folder, lambda: known, spec=replace(WORDS, options=BM25Options()))

    def breaks():
        yield from known[:20]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        update_index(folder, breaks)
    readings = iter([[*known, Passage("new", "x")], [*known, Passage("new", "y")]])
    with pytest.raises(InputError, match="changed while it was read"):
        update_index(folder, lambda: next(readings))
    assert (folder / MANIFEST).read_bytes() == before
    assert len(open_index(folder)) == 25


def test_another_spec_is_refused_before_every_file_is_read(folder):
    texts = next(folder.glob("texts-*"))
    texts.write_bytes(texts.read_bytes()[::-1])
    with pytest.raises(ArtifactError, match="something else"):
        update_index(folder, lambda: passages(25), spec=IndexSpec(options=BM25Options()))
    with pytest.raises(ArtifactError, match="is corrupt"):
        update_index(folder, lambda: passages(25), spec=WORDS)


def test_there_must_be_a_finished_index(tmp_path):
    for spec in (None, WORDS):
        with pytest.raises(ArtifactError, match="no index"):
            update_index(tmp_path / "index", lambda: passages(3), spec=spec)
    with open_writer(tmp_path / "index", WORDS) as writer:
        writer.append(passages(3))
    with pytest.raises(ArtifactError, match="was not finished"):
        update_index(tmp_path / "index", lambda: passages(3))
