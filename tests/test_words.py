from __future__ import annotations

import sys

import pytest

from corom.errors import InputError, MissingExtraError
from corom.words import folded, segment

rjieba = pytest.importorskip("rjieba")


class TestWords:
    def test_long_words_come_with_the_words_inside(self):
        assert segment("糖尿病患者") == ["糖尿", "糖尿病", "患者"]

    def test_punctuation_and_space_are_left_out(self):
        assert segment("头痛，　怎么办？！ …—\n") == ["头痛", "怎么", "怎么办"]

    def test_width_and_case_do_not_matter(self):
        assert segment("ＨｂＡ１ｃ 7.5%") == segment("HbA1c ７．５％") == ["hba1c", "7.5%"]

    def test_numbers_keep_their_point(self):
        assert "0.5g" in segment("阿莫西林0.5g")


class TestBigrams:
    def test_neighbouring_characters(self):
        assert segment("糖尿病，怎么办", cut="bigrams") == ["糖尿", "尿病", "怎么", "么办"]

    def test_single_character_and_other_scripts_stay_whole(self):
        assert segment("痛 HbA1c和CT_3", cut="bigrams") == ["痛", "hba1c", "和", "ct", "3"]

    def test_rare_characters_are_chinese(self):
        assert segment("𠮷野家〇", cut="bigrams") == ["𠮷野", "野家", "家〇"]

    def test_needs_no_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "rjieba", None)
        assert segment("头痛", cut="bigrams") == ["头痛"]
        with pytest.raises(MissingExtraError, match=r"corom\[lexical\]"):
            segment("头痛")


@pytest.mark.parametrize("cut", ["words", "bigrams"])
class TestBoth:
    @pytest.mark.parametrize("text", ["", " \t\n", "，。！？", "\u200b"])
    def test_nothing_to_cut(self, text, cut):
        assert segment(text, cut=cut) == []

    def test_other_languages(self, cut):
        assert segment("What is the DOSE of aspirin?", cut=cut)[-3:-1] == ["dose", "of"]

    def test_very_long(self, cut):
        assert len(segment("高血压患者" * 20_000, cut=cut)) > 20_000

    def test_lone_surrogates_are_no_words(self, cut):
        assert segment("头痛\ud800", cut=cut) == ["头痛"]


def test_folding():
    assert folded("Ⅱ型 ＣＴ") == "ii型 ct"


def test_unknown_cut_is_refused():
    with pytest.raises(InputError, match="'trigrams' is none of words, bigrams"):
        segment("头痛", cut="trigrams")  # type: ignore[arg-type]
