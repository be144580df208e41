from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom import search
from corom.errors import ArtifactError, InputError
from corom.index import BM25Index, BM25Options, ExactOptions, IndexSpec, VectorIndex, Where
from corom.index.collection import Collection
from corom.ranking import fuse_rrf, fuse_weighted, rank_hits
from corom.records import Hit, Passage, Query
from corom.reranker import Reranker, SecondPass
from corom.search import FoundPassage, Fusion, Searcher, best_documents
from corom.splitting import document_of
from corom.text import check_texts
from corom.vectors import normalized, truncated

pytest.importorskip("tantivy")

PASSAGES = [
    Passage("10", "糖尿病患者要控制饮食，少吃甜食。", "糖尿病"),
    Passage("9", "高血压患者要少吃盐，按时吃药。"),
    Passage("a", "头痛可以先休息，吃止痛药。"),
    Passage("2", "糖尿病会不会遗传？有一定的遗传倾向。"),
]


class CharacterEncoder:
    """Counts some characters: enough of a meaning to search by."""

    fingerprint, dim = "characters", 8

    def encode_queries(self, texts, *, normalize, truncate_dim):
        self.asked = (normalize, truncate_dim)
        counts = [[text.count(c) for c in "糖高头遗吃药盐甜"] for text in check_texts(texts)]
        found = np.array(counts, np.float32).reshape(-1, self.dim)
        found = truncated(found, truncate_dim) if truncate_dim else found
        return normalized(found) if normalize else found


class Listed:
    """Finds the same passages, in this order, whatever is asked."""

    spec = IndexSpec(options=ExactOptions(), dim=8, fingerprint="characters")

    def __init__(self, ids):
        self.ids = ids

    def search(self, queries, k):
        return [[Hit(id_, -n) for n, id_ in enumerate(self.ids[:k])] for _ in queries]

    def passages(self, ids):
        return [Passage(id_, f"text {id_}") for id_ in ids]


class Backwards:
    """A second pass that turns the hits around."""

    depth = 3

    def reorder(self, queries, found, *, texts):
        assert texts(["a"]) == ["text a"]
        return [hits[::-1] for hits in found]


@pytest.fixture(scope="module")
def vectors():
    index = VectorIndex.new(8, fingerprint="characters")
    encoder = CharacterEncoder()
    texts = [passage.content for passage in PASSAGES]
    index.add(PASSAGES, encoder.encode_queries(texts, normalize=False, truncate_dim=None))
    return index


@pytest.fixture(scope="module")
def words():
    index = BM25Index.new(BM25Options(cut="bigrams"))
    index.add(PASSAGES)
    return index


class TestOne:
    def test_by_meaning(self, vectors):
        encoder = CharacterEncoder()
        searcher = Searcher(vectors, encoder=encoder)
        found = searcher.search(["糖尿病遗传吗", "吃药"], 2)
        assert found[0][0] == FoundPassage("2", 3.0, PASSAGES[3].text, "")
        assert [hit.id for hit in found[1]] == ["9", "a"]
        assert encoder.asked == (False, 8)

    def test_by_words(self, words):
        found = Searcher(words=words).search(["糖尿病", "无关"], 10)
        assert {hit.id for hit in found[0]} == {"2", "10"}
        assert found[0][0].title == "糖尿病"
        assert found[1] == []

    def test_encoded_as_the_index_was(self):
        encoder = CharacterEncoder()
        index = VectorIndex.new(4, fingerprint="characters", normalized=True)
        index.add(PASSAGES[:1], np.ones((1, 4), np.float32) / 2)
        found = Searcher(index, encoder=encoder).search(["糖"], 1)
        assert encoder.asked == (True, 4)
        assert found[0][0].score == pytest.approx(0.5)

    def test_runs(self, vectors):
        searcher = Searcher(vectors, encoder=CharacterEncoder())
        run = searcher.run([Query("q2", "糖"), Query("q1", "盐")], 1)
        assert {query: hits[0].id for query, hits in run.items()} == {"q2": "10", "q1": "9"}
        with pytest.raises(InputError, match="occurs twice"):
            searcher.run([Query("q", "糖"), Query("q", "盐")])

    @pytest.mark.parametrize("k", [0, -1, None, "3", 2.5, True])
    @pytest.mark.parametrize("by_document", [False, True])
    def test_wrong_k(self, vectors, words, k, by_document):
        both = Searcher(vectors, encoder=CharacterEncoder(), words=words, fusion=Fusion())
        for searcher in (Searcher(words=words), both):
            with pytest.raises(InputError, match=f"k is {k!r}; it must be a whole number"):
                searcher.search(["糖"], k, by_document=by_document)

    def test_nothing_asked(self, vectors, words):
        assert Searcher(vectors, encoder=CharacterEncoder()).search([]) == []
        assert Searcher(words=words).run([]) == {}

    @pytest.mark.parametrize("texts", ["头痛", [3], None])
    def test_wrong_input(self, words, texts):
        with pytest.raises(InputError):
            Searcher(words=words).search(texts)


class TestBoth:
    def test_rrf(self, vectors, words):
        asked = [Query("1", "糖尿病饮食"), Query("2", "吃药")]
        runs = [
            Searcher(vectors, encoder=CharacterEncoder()).run(asked),
            Searcher(words=words).run(asked),
        ]
        rrf = Fusion(method="rrf")
        both = Searcher(vectors, encoder=CharacterEncoder(), words=words, fusion=rrf)
        assert both.run(asked) == fuse_rrf(runs)
        assert [hit.id for hit in both.search(["糖尿病饮食"], 1)[0]] == ["10"]

    def test_weighted(self, vectors, words):
        asked = [Query("1", "糖尿病饮食")]
        runs = [
            Searcher(vectors, encoder=CharacterEncoder()).run(asked),
            Searcher(words=words).run(asked),
        ]
        for fusion, share in ((Fusion(), 0.8), (Fusion(vectors=0.75), 0.75)):
            both = Searcher(vectors, encoder=CharacterEncoder(), words=words, fusion=fusion)
            assert both.run(asked) == fuse_weighted(runs, [share, 1 - share])

    @pytest.mark.parametrize(("depth", "k", "wanted"), [(1, 1, "a"), (2, 1, "c"), (1, 2, "ca")])
    def test_as_many_hits_of_each_as_the_fusion_says(self, depth, k, wanted):
        both = Searcher(
            Listed("acd"),
            encoder=CharacterEncoder(),
            words=Listed("bce"),
            fusion=Fusion(method="rrf", depth=depth),
        )
        assert "".join(hit.id for hit in both.run([Query("1", "糖")], k)["1"]) == wanted

    def test_off_unless_asked_for(self, vectors, words):
        with pytest.raises(InputError, match="give all three"):
            Searcher(vectors, encoder=CharacterEncoder(), words=words)
        with pytest.raises(InputError, match="give all three"):
            Searcher(words=words, fusion=Fusion())


class TestSecondPass:
    """A reranker reads what is found first."""

    @pytest.fixture
    def second(self, tiny_reranker):
        return SecondPass(reranker=Reranker.load(tiny_reranker, precision="fp32"), share=1.0)

    def test_it_orders_what_was_found_by_its_own_scores(self, vectors, second):
        searcher = Searcher(vectors, encoder=CharacterEncoder(), second=second)
        found = searcher.search(["糖尿病", "高血压"], k=4)
        for query, hits in zip(("糖尿病", "高血压"), found, strict=True):
            ranked = second.reranker.rank(query, PASSAGES)
            assert [hit.id for hit in hits] == [hit.id for hit in ranked]
        run = searcher.run([Query("1", "糖尿病")], k=2)
        assert [hit.id for hit in run["1"]] == [hit.id for hit in found[0][:2]]

    def test_it_reads_words_too_and_no_more_than_there_is(self, words, second):
        plain, read = Searcher(words=words), Searcher(words=words, second=second)
        assert {h.id for h in read.search(["高血压"])[0]} == {
            h.id for h in plain.search(["高血压"])[0]
        }
        assert read.search(["龘"]) == [[]]
        assert read.search([]) == []

    @pytest.mark.parametrize(("k", "wanted"), [(1, "c"), (3, "cba"), (5, "edcba")])
    def test_it_reads_as_many_hits_as_it_says_and_no_fewer_than_are_asked_for(self, k, wanted):
        searcher = Searcher(words=Listed("abcdef"), second=Backwards())
        assert "".join(hit.id for hit in searcher.run([Query("1", "糖")], k)["1"]) == wanted


class TestRefused:
    def test_incomplete(self, vectors):
        with pytest.raises(InputError, match="need each other"):
            Searcher(vectors)
        with pytest.raises(InputError, match="give an index"):
            Searcher()

    def test_another_encoder(self, vectors):
        other = CharacterEncoder()
        other.fingerprint = "words"
        with pytest.raises(ArtifactError, match=r"'characters'.*not with 'words'"):
            Searcher(vectors, encoder=other)

    def test_more_numbers_than_the_encoder_has(self):
        index = VectorIndex.new(9, fingerprint="characters")
        with pytest.raises(ArtifactError, match="dim 9, the encoder has 8"):
            Searcher(index, encoder=CharacterEncoder())

    @pytest.mark.parametrize(
        "changes", [{"method": "sum"}, {"vectors": 1.5}, {"vectors": float("nan")}, {"depth": 0}]
    )
    def test_fusion(self, changes):
        with pytest.raises(InputError, match=next(iter(changes))):
            Fusion(**changes)


class TestByDocument:
    """Of the parts of one text only the best counts."""

    PARTS = (
        *(Passage("d#1", "糖糖糖"), Passage("d#2", "糖糖"), Passage("c#1", "糖糖糖")),
        *(Passage("e", "糖"), Passage("f#1", "盐"), Passage("f#2", "糖")),
    )

    @pytest.fixture
    def parts(self):
        index = VectorIndex.new(8, fingerprint="characters")
        texts = [passage.text for passage in self.PARTS]
        encoder = CharacterEncoder()
        index.add(self.PARTS, encoder.encode_queries(texts, normalize=False, truncate_dim=None))
        return index

    def test_the_best_part_of_each_text(self, parts):
        searcher = Searcher(parts, encoder=CharacterEncoder())
        found = searcher.search(["糖"], 3, by_document=True)[0]
        assert [(hit.id, hit.score) for hit in found] == [("c#1", 3), ("d#1", 3), ("e", 1)]
        assert found[1].text == "糖糖糖"
        run = searcher.run([Query("1", "糖")], 3, by_document=True)
        assert run == {"1": [Hit("c", 3), Hit("d", 3), Hit("e", 1)]}
        assert len(searcher.search(["糖"], 10, by_document=True)[0]) == 4

    def test_without_parts_nothing_changes(self, vectors):
        searcher = Searcher(vectors, encoder=CharacterEncoder())
        assert searcher.search(["糖尿病", "药"], 2, by_document=True) == searcher.search(
            ["糖尿病", "药"], 2
        )

    def test_by_words(self):
        index = BM25Index.new(BM25Options(cut="bigrams"))
        index.add([Passage("d#1", "糖尿病"), Passage("d#2", "糖尿病饮食"), Passage("e", "糖尿病")])
        found = Searcher(words=index).search(["糖尿病"], 5, by_document=True)[0]
        assert [hit.id for hit in found] == ["d#1", "e"]

    def test_a_reranker_reads_the_best_part_of_each(self, parts, tiny_reranker):
        reranker = Reranker.load(tiny_reranker, precision="fp32")
        second = SecondPass(reranker=reranker, depth=6, share=1.0)
        searcher = Searcher(parts, encoder=CharacterEncoder(), second=second)
        read = [self.PARTS[place] for place in (0, 2, 3, 5)]
        assert [hit.id for hit in searcher.search(["糖"], 6, by_document=True)[0]] == [
            hit.id for hit in reranker.rank("糖", read)
        ]

    def test_it_is_asked_for_where_the_index_was_made_of_parts(self):
        index = BM25Index.new(BM25Options(cut="bigrams"))
        split = BM25Index(Collection(IndexSpec(options=BM25Options(cut="bigrams"), part_tokens=16)))
        for each in (index, split):
            each.add([Passage("d#1", "糖尿病"), Passage("d#2", "糖尿病饮食")])
        asked = [Query("1", "糖尿病")]
        assert [hit.id for hit in Searcher(words=index).run(asked)["1"]] == ["d#1", "d#2"]
        assert [hit.id for hit in Searcher(words=split).run(asked)["1"]] == ["d"]
        whole = Searcher(words=split).run(asked, by_document=False)
        assert [hit.id for hit in whole["1"]] == ["d#1", "d#2"]

    def test_a_tie_beyond_the_first_hits_is_looked_for(self):
        hits = [Hit(f"10#{n}", 1.0) for n in range(1, 10)] + [Hit("9#1", 1.0)]
        found = best_documents(lambda some, depth: [hits[:depth] for _ in some], 1, 1)
        assert found == [[Hit("9#1", 1.0)]]

    @given(
        queries=st.lists(
            st.lists(
                # As parts 10#1 comes before 9#1, as texts 9 before 10.
                st.tuples(st.sampled_from(["9", "10", "a", "b"]), st.integers(0, 3)),
                max_size=60,
            ),
            max_size=4,
        ),
        k=st.integers(1, 5),
        at_once=st.sampled_from([1, 30, 1 << 20]),
    )
    def test_it_is_the_best_of_all_parts(self, queries, k, at_once):
        runs = [
            rank_hits(Hit(f"{text}#{n}", score) for n, (text, score) in enumerate(scores, 1))
            for scores in queries
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search, "_HITS", at_once)
            found = best_documents(
                lambda some, depth: [runs[number][:depth] for number in some], len(runs), k
            )
        for scores, hits in zip(queries, found, strict=True):
            best = {text: max(s for t, s in scores if t == text) for text, _ in scores}
            truth = rank_hits((Hit(text, score) for text, score in best.items()), k)
            assert [(document_of(hit.id), hit.score) for hit in hits] == truth


class TestOnly:
    WHERE = (Where(column="ward", among=("3",)),)

    def searcher(self, *, keep=("ward",), of=("vectors", "words")):
        given = [p._replace(fields={"ward": str(n % 4)}) for n, p in enumerate(PASSAGES)]
        vectors, words = VectorIndex.new(8, fingerprint="characters", keep=("ward",)), None
        encoder = CharacterEncoder()
        texts = [passage.content for passage in given]
        vectors.add(given, encoder.encode_queries(texts, normalize=False, truncate_dim=None))
        words = BM25Index.new(BM25Options(cut="bigrams"), keep=keep)
        words.add(given if keep else PASSAGES)
        if of == ("words",):
            return Searcher(words=words)
        if of == ("vectors",):
            return Searcher(vectors, encoder=encoder)
        return Searcher(vectors, encoder=encoder, words=words, fusion=Fusion())

    @pytest.mark.parametrize("of", [("vectors",), ("words",), ("vectors", "words")])
    def test_those_that_match(self, of):
        searcher = self.searcher(of=of)
        everything = searcher.search(["糖尿病"], 99)[0]
        [found] = searcher.only(self.WHERE).search(["糖尿病"], 99)
        assert {hit.id for hit in found} == {
            hit.id for hit in everything if hit.fields == {"ward": "3"}
        }
        assert [{**hit.fields} for hit in found] == [{"ward": "3"}] * len(found) != []
        assert searcher.search(["糖尿病"], 99)[0] == everything

    def test_every_index_must_keep_it(self):
        with pytest.raises(InputError, match="does not keep"):
            self.searcher(keep=()).only(self.WHERE)

    def test_one_on_a_server_keeps_none(self):
        with pytest.raises(InputError, match="on a server keeps no columns"):
            Searcher(Listed(["a"]), encoder=CharacterEncoder()).only(self.WHERE)
