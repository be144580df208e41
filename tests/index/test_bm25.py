from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corom.errors import InputError
from corom.index import BM25Index, BM25Options, ExactOptions, lexicon, open_index, open_writer
from corom.index.collection import Collection
from corom.index.spec import IndexSpec
from corom.ranking import rank_hits
from corom.records import Hit, Passage
from corom.words import segment
from index.samples import passages

pytest.importorskip("tantivy")
pytest.importorskip("rjieba")


def formula(texts, query, *, cut="words", k1=1.2, b=0.75):
    """The scores of the docstring of corom.index.lexicon, by position; lengths up to 40 words."""
    documents = [Counter(segment(text, cut=cut)) for text in texts]
    lengths = [document.total() for document in documents]
    mean = sum(lengths) / len(lengths)
    scores = {}
    for position, (document, length) in enumerate(zip(documents, lengths, strict=True)):
        for word, times in Counter(segment(query, cut=cut)).items():
            tf, n = document[word], sum(word in other for other in documents)
            if tf:
                idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
                part = idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean))
                scores[position] = scores.get(position, 0) + times * part
    return scores


def filled(texts, options=None):
    index = BM25Index.new(options)
    index.add([Passage(str(place), text) for place, text in enumerate(texts)])
    return index


WORDS = st.lists(
    st.sampled_from(["糖尿病", "高血压", "头痛", "CT", "0.5g", "的", "，"]), max_size=12
).map("".join)


class TestScores:
    @pytest.mark.parametrize("cut", ["words", "bigrams"])
    @settings(max_examples=25, deadline=None)
    @given(texts=st.lists(WORDS, min_size=1, max_size=12), query=WORDS)
    def test_are_those_of_the_formula(self, cut, texts, query):
        hits = filled(texts, BM25Options(cut=cut)).search([query], 100)[0]
        wanted = formula(texts, query, cut=cut)
        assert {int(hit.id): hit.score for hit in hits} == pytest.approx(wanted, rel=1e-5)
        assert hits == rank_hits(hits)

    def test_order_of_words_does_not_matter(self):
        texts = [passage.text for passage in passages(60)]
        index = filled(texts)
        some, other = index.search(["头痛 糖尿病 怎么 治疗 吃药", "吃药 治疗 怎么 糖尿病 头痛"], 60)
        assert some == other

    def test_repeated_words_count_again(self):
        index = filled(["头痛", "糖尿病"])
        once, twice = index.search(["头痛", "头痛，头痛"], 1)
        assert twice[0].score == pytest.approx(2 * once[0].score)

    def test_title_counts(self):
        index = BM25Index.new()
        index.add([Passage("1", "多喝水", "头痛"), Passage("2", "多喝水")])
        assert [hit.id for hit in index.search(["头痛"], 5)[0]] == ["1"]


class TestTies:
    def test_follow_the_ids_beyond_the_cut(self):
        index = BM25Index.new()
        ids = [str(place * 37 % 501) for place in range(500)]
        index.add([Passage(id_, "头痛怎么办") for id_ in ids[:250]])
        index.add([Passage(id_, "头痛怎么办") for id_ in ids[250:]])
        for k in (1, 7, 100, 499, 500, 1000):
            hits = index.search(["头痛"], k)[0]
            assert [hit.id for hit in hits] == sorted(ids, key=int)[:k]
            assert len({hit.score for hit in hits}) == 1


class TestEdges:
    def test_nothing(self):
        index = BM25Index.new()
        assert len(index) == 0
        assert index.search(["头痛"], 3) == [[]]
        assert index.search([], 3) == []
        index.add([])
        index.add([Passage("1", "")])
        assert index.search(["头痛", "", "，。", "unknown"], 3) == [[]] * 4

    def test_long_text(self):
        index = filled(["头痛怎么办" * 20_000, "头痛"])
        assert {hit.id for hit in index.search(["头痛"], 3)[0]} == {"0", "1"}
        assert len(index.search(["头痛" * 5_000], 3)[0]) == 2

    def test_other_languages(self):
        index = filled(["Aspirin 100mg daily", "アスピリン", "😀 👨‍⚕️"])
        assert [hit.id for hit in index.search(["ASPIRIN"], 3)[0]] == ["0"]

    @pytest.mark.parametrize(
        ("given", "k", "message"),
        [("头痛", 1, "one string"), ([None], 1, "NoneType"), (["头痛"], 0, "k is 0")],
    )
    def test_wrong_input(self, given, k, message):
        with pytest.raises(InputError, match=message):
            filled(["头痛"]).search(given, k)

    def test_options_of_vectors(self):
        vectors = Collection(IndexSpec(options=ExactOptions(), dim=3))
        with pytest.raises(InputError, match="options are those of exact"):
            BM25Index(vectors)

    def test_repeated_id(self):
        index = filled(["头痛"])
        with pytest.raises(InputError, match="'0' is in the index already"):
            index.add([Passage("0", "头痛")])


def test_removed_passages_do_not_count():
    texts = [passage.text for passage in passages(30)]
    index = filled(texts)
    index.remove([str(place) for place in range(20)])
    assert len(index) == 10
    fresh = filled(texts[20:])
    hits = index.search(["糖尿病吃什么药"], 30)[0]
    assert [hit.score for hit in hits] == [h.score for h in fresh.search(["糖尿病吃什么药"], 30)[0]]
    index.add([Passage("0", "糖尿病")])
    assert index.search(["糖尿病"], 1)[0][0].id == "0"


def test_save_open_and_change(tmp_path):
    index = filled([passage.text for passage in passages(50)])
    index.remove(["7"])
    index.save(tmp_path / "words")
    again = open_index(tmp_path / "words")
    asked = ["糖尿病", "失眠怎么治疗", "无"]
    assert again.search(asked, 20) == index.search(asked, 20)
    with open_writer(tmp_path / "words") as writer:
        writer.append([Passage("7", "糖尿病")])
        writer.remove(["8"])
        writer.finish()
    changed = open_index(tmp_path / "words")
    assert "7" in [hit.id for hit in changed.search(["糖尿病"], 50)[0]]
    assert len(changed) == 49
    # What was open before still answers from its own files.
    assert again.search(asked, 20) == index.search(asked, 20)


def test_a_folder_is_read_without_writing_to_it(tmp_path):
    filled(["头痛"]).save(tmp_path / "words")
    before = sorted(path.name for path in (tmp_path / "words").rglob("*"))
    assert [name for name in before if name.startswith(".")] == [".lock"]  # none of tantivy's
    assert open_index(tmp_path / "words").search(["头痛"], 1)[0][0].id == "0"
    assert sorted(path.name for path in (tmp_path / "words").rglob("*")) == before


def test_words_are_counted_again_only_after_a_change(tmp_path, monkeypatch):
    filled(["头痛", "头晕"]).save(tmp_path / "words")
    index, counted = open_index(tmp_path / "words"), []
    build = lexicon.Lexicon.build
    monkeypatch.setattr(
        lexicon.Lexicon,
        "build",
        lambda collection, **options: (
            counted.append(len(collection)) or build(collection, **options)
        ),
    )
    for _ in range(2):
        index.search(["头痛"], 1)
    assert counted == []
    index.add([Passage("2", "头痛")])
    for _ in range(2):
        assert len(index.search(["头痛"], 5)[0]) == 2
    index.remove(["2"])
    assert len(index.search(["头痛"], 5)[0]) == 1
    assert counted == [3, 2]


def test_hits_beyond_k_are_only_ties():
    held = filled(["头痛"] * 80 + ["头痛 头痛"] * 9).collection
    made = lexicon.Lexicon.build(held, cut="words")
    assert len(made.search("头痛", 9, alive=held.alive).rows) in (9, 41)
    assert len(made.search("头痛", 10, alive=held.alive).rows) == 89


def test_ranked_as_hits():
    hits = filled(["头痛", "头痛", "头晕头痛"]).search(["头痛"], 3)[0]
    assert all(isinstance(hit, Hit) and isinstance(hit.score, float) for hit in hits)
    assert np.isfinite([hit.score for hit in hits]).all()
