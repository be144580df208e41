from __future__ import annotations

from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom import highlight
from corom.errors import InputError
from corom.highlight import Span, first_sentences, sentences, shared_words, snippet

TEXTS = st.lists(
    st.sampled_from(
        ["糖尿病", "吃药", "CT", "ＣＴ", "㎎", "。", "！？", "\n", " ", "0.5g", "\ud800"]
    )
).map("".join)


@pytest.fixture(params=["words", "bigrams"], autouse=True)
def _cut(request, monkeypatch):
    if request.param == "words":
        pytest.importorskip("rjieba")
    else:
        monkeypatch.setattr(highlight, "find_spec", lambda _: None)


def marked(text, spans):
    return [text[span.start : span.end] for span in spans]


class TestSentences:
    def test_chinese_and_latin_ends(self):
        text = "头痛吗？！多喝水；休息。“会好的。”每次0.5g.  See a doctor. \n下一行……完"
        assert marked(text, sentences(text)) == [
            "头痛吗？！",
            "多喝水；",
            "休息。",
            "“会好的。”",
            "每次0.5g.",
            "See a doctor.",
            "下一行……",
            "完",
        ]

    @pytest.mark.parametrize("text", ["", " \n\t", "\u3000"])
    def test_none(self, text):
        assert sentences(text) == []

    @given(TEXTS)
    def test_nothing_but_space_is_lost(self, text):
        parts = sentences(text)
        assert "".join("".join(marked(text, parts)).split()) == "".join(text.split())
        assert all(a.end <= b.start for a, b in pairwise(parts))


class TestSharedWords:
    def test_words_of_the_query(self):
        text = "糖尿病患者怎么控制饮食？糖尿病要控制。"
        found = marked(text, shared_words("糖尿病 饮食", text))
        assert found == ["糖尿病", "饮食", "糖尿病"]

    def test_width_and_case(self):
        text = "做了ＣＴ检查，服药5㎎"
        assert marked(text, shared_words("ct 5mg", text)) == ["ＣＴ", "5㎎"]

    def test_latin_words_are_whole(self):
        assert shared_words("ct", "ctrl 与 act") == []

    def test_single_characters_only_if_there_is_nothing_else(self):
        assert marked("我的头痛", shared_words("的 头痛", "我的头痛")) == ["头痛"]
        assert marked("痛的痛", shared_words("痛？", "痛的痛")) == ["痛", "痛"]

    @pytest.mark.parametrize(
        ("query", "text"), [("", "头痛"), ("头痛", ""), ("，", "，"), ("a|b", "|")]
    )
    def test_none(self, query, text):
        assert shared_words(query, text) == []

    @given(TEXTS, TEXTS)
    def test_spans_are_in_order_and_inside(self, query, text):
        spans = shared_words(query, text)
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        assert all(a.end < b.start for a, b in pairwise(spans))


class TestSnippet:
    TEXT = "首先说明病因。糖尿病患者应当控制饮食，少吃甜食。其次要多运动。"

    def test_best_sentence_first(self):
        found = snippet("糖尿病饮食", self.TEXT)
        assert (found.start, found.end) == (0, len(self.TEXT))
        assert marked(self.TEXT, found.spans) == [
            "糖尿病患者应当控制饮食，少吃甜食。",
            "糖尿病",
            "饮食",
        ]
        assert [span.kind for span in found.spans] == ["sentence", "word", "word"]

    def test_scores_decide(self):
        found = snippet("糖尿病饮食", self.TEXT, sentence_scores=[0.1, 0.2, 0.3])
        assert marked(self.TEXT, found.spans[:1]) == ["其次要多运动。"]

    def test_scores_are_of_the_first_sentences(self):
        text = "".join(f"第{n}句。" for n in range(40))
        read = first_sentences(text)
        assert (len(read), read[0], read[-1]) == (32, "第0句。", "第31句。")
        scores = [float(n == 31) for n in range(32)]
        assert marked(text, snippet("第39句", text, sentence_scores=scores).spans[:1]) == [read[-1]]
        with pytest.raises(InputError, match="40 scores came for 32 sentences"):
            snippet("句", text, sentence_scores=[0.0] * 40)

    def test_first_of_equals(self):
        assert snippet("无关", "一。二。").spans == [Span(0, 2, "sentence")]

    def test_room_around_the_sentence(self):
        found = snippet("糖尿病", "前" * 100 + "。" + self.TEXT + "后" * 100, max_chars=40)
        assert found.end - found.start == 40
        assert found.start <= found.spans[0].start
        assert found.spans[0].end <= found.end

    def test_long_sentence_is_cut_around_its_words(self):
        text = "无" * 200 + "糖尿病" + "无" * 200
        found = snippet("糖尿病", text, max_chars=40)
        assert found.end - found.start == 40
        assert "糖尿病" in text[found.start : found.end]

    @given(TEXTS, TEXTS)
    def test_the_best_sentence_holds_most_of_the_words(self, query, text):
        words = shared_words(query, text)
        shared = [
            sum(max(0, min(one.end, word.end) - max(one.start, word.start)) for word in words)
            for one in sentences(text)
        ]
        if shared:
            best = snippet(query, text, max_chars=len(text)).spans[0]
            assert best == sentences(text)[shared.index(max(shared))]

    def test_a_book_takes_no_longer_than_its_length_says(self):
        def seconds(times):
            text = "糖尿病患者要注意。饮食和休息！" * times
            started = perf_counter()
            snippet("糖尿病饮食", text)
            return perf_counter() - started

        seconds(10)
        # Sixteen times as long; sentences times words would be 256 times.
        assert min(seconds(4000) for _ in range(3)) < 80 * min(seconds(250) for _ in range(3))

    def test_nothing_to_show(self):
        assert snippet("头痛", " ") == (0, 0, [])
        assert snippet("", "头痛。").spans == [Span(0, 3, "sentence")]

    def test_refused(self):
        with pytest.raises(InputError, match="1 scores came for 3 sentences"):
            snippet("头痛", self.TEXT, sentence_scores=[1.0])
        with pytest.raises(InputError, match="max_chars is 0"):
            snippet("头痛", self.TEXT, max_chars=0)

    @given(TEXTS, TEXTS, st.integers(1, 30))
    def test_window_is_inside_and_no_longer(self, query, text, max_chars):
        found = snippet(query, text, max_chars=max_chars)
        assert 0 <= found.start <= found.end <= len(text)
        assert found.end - found.start <= max_chars
        assert all(span.start < found.end and span.end > found.start for span in found.spans)
