from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import InputError
from corom.readers import open_passages
from corom.records import Passage
from corom.splitting import Part, Splitter, cuts, document_of, write_parts
from corom.tokens import TokenCutter

TEXTS = st.lists(
    st.sampled_from(
        [
            "头痛发热",
            "吃药，",
            "休息。",
            "\n\n",
            " ",
            "ct",
            "ab" * 30,
            "1,231",
            "é̀",
            "😷",
            "\x00",
            "\ud800",
            "고혈압",
            "ひらがな",
        ]
    ),
    max_size=80,
).map("".join)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    # The embedded model's own: its tokenizer is one that is used.
    from corom.models.checkpoint import load_checkpoint
    from corom.models.names import resolve

    return load_checkpoint(resolve("corom-medical"), name="corom-medical")


@pytest.fixture(scope="module")
def splitter(checkpoint):
    return Splitter(checkpoint, max_tokens=16)


def texts_of(parts):
    return [part.passage.text for part in parts]


def split(splitter, text, title=""):
    return list(splitter.split([Passage("d", text, title)]))


class TestWhole:
    def test_what_fits_stays_as_it_is(self, splitter):
        passage = Passage("d", "头痛吃什么药？\n", "头痛")
        assert list(splitter.split([passage])) == [Part(passage, "d", 0, 8)]

    def test_nothing_gives_nothing(self, splitter):
        assert list(splitter.split([])) == []

    def test_many_come_in_order(self, splitter):
        given = [Passage(str(n), "头痛" * (1 + 20 * (n % 2))) for n in range(2100)]
        found = [part.document for part in splitter.split(given)]
        assert list(dict.fromkeys(found)) == [str(n) for n in range(2100)]

    def test_the_models_own_length_by_default(self, checkpoint):
        assert Splitter(checkpoint).max_tokens == checkpoint.encoding.max_length == 256
        assert Splitter.load("corom-medical").max_tokens == 256


class TestPlaces:
    def test_a_paragraph_before_a_sentence_before_a_clause(self, splitter):
        text = "头痛要休息，多喝水。\n发热要看医生；吃药，"
        assert texts_of(split(splitter, text)) == ["头痛要休息，多喝水。", "发热要看医生；吃药，"]
        text = "头痛要休息。多喝，水发热要看医生吃药吃药"
        assert texts_of(split(splitter, text)) == ["头痛要休息。", "多喝，水发热要看医生吃药吃药"]
        text = "头痛要休息，多喝水发热要看医生吃药"
        assert texts_of(split(splitter, text)) == ["头痛要休息，", "多喝水发热要看医生吃药"]

    def test_parts_are_alike_where_all_places_are(self, splitter):
        assert [len(text) for text in texts_of(split(splitter, "头" * 45))] == [11, 11, 11, 12]

    def test_numbers_and_words_stay_whole(self, splitter):
        text = "每天吃药量为1,231.5毫克以上aspirin，头痛发热"
        for part in texts_of(split(splitter, text)):
            assert "1,231.5" in part or "1" not in part
            assert "aspirin" in part or "asp" not in part

    def test_spans_are_of_the_text(self, splitter):
        text = "  头痛要休息，多喝水。  \n\n  发热要看医生；吃药。  "
        parts = split(splitter, text)
        assert [text[part.start : part.end] for part in parts] == texts_of(parts)
        assert [part.passage.id for part in parts] == ["d#1", "d#2"]
        assert {part.document for part in parts} == {"d"}

    def test_a_word_of_many_tokens_is_cut_at_last(self, splitter):
        text = "x9f" * 30
        parts = split(splitter, text)
        assert "".join(texts_of(parts)) == text
        assert len(parts) > 2

    def test_a_cut_word_of_more_tokens_than_it_was_is_cut_again(self, splitter, checkpoint):
        text = "satlild3ahicjihi0jasagjlmbczcvqca3knbhc0hc"
        parts = texts_of(split(splitter, text))
        assert "".join(parts) == text
        cutter = TokenCutter(checkpoint.tokenizer_json, max_length=16)
        assert not any(tokens.truncated for tokens in cutter.cut(parts))

    @pytest.mark.parametrize("word", ["고혈압", "головная"])
    @pytest.mark.parametrize("before", range(2, 14))
    def test_words_of_other_scripts_stay_whole(self, splitter, word, before):
        parts = texts_of(split(splitter, "头" * before + word + "头" * 20))
        assert sum(word in part for part in parts) == 1


class TestTitles:
    def test_every_part_has_it(self, splitter, checkpoint):
        parts = split(splitter, "头痛要休息。" * 6, "头痛")
        assert {part.passage.title for part in parts} == {"头痛"}
        cutter = TokenCutter(checkpoint.tokenizer_json, max_length=16)
        assert not any(cutter.cut([part.passage.content])[0].truncated for part in parts)

    def test_a_long_one_begins_the_text(self, splitter):
        title, text = "头痛发热怎么办要休息吗", "头痛要休息。多喝水。"
        parts = split(splitter, text, title)
        assert {part.passage.title for part in parts} == {""}
        content = f"{title} {text}"
        assert [content[part.start : part.end] for part in parts] == texts_of(parts)
        assert "".join(texts_of(parts)) == content.replace(" ", "")

    @pytest.mark.parametrize(("length", "kept"), [(7, True), (8, False)])  # of a room of 14
    def test_half_of_a_part_is_not_too_long(self, splitter, length, kept):
        title = "头" * length
        parts = split(splitter, "头痛要休息。" * 6, title)
        assert {part.passage.title for part in parts} == {title if kept else ""}

    def test_one_without_a_text(self, splitter):
        parts = split(splitter, "", "头痛" * 20)
        assert "".join(texts_of(parts)) == "头痛" * 20


class TestOverlap:
    def test_whole_sentences_of_the_part_before(self, checkpoint):
        text = "头痛。发热要休息了。多喝水。吃药了吗。看医生吧。好了。"
        parts = texts_of(split(Splitter(checkpoint, max_tokens=16, overlap=5), text))
        assert parts[0].endswith("多喝水。")
        assert parts[1].startswith("多喝水。")

    def test_no_part_lies_within_the_one_before(self, checkpoint):
        text = (
            "血超压盐血血血患盐者当超应压过。者天者盐克每克不不每。克每过天每限天天压者不患天当超者盐不血限每每当。\n"
            "者天每每高天克超天超当过者超盐克克患限不患天盐过克克天高不高。盐应患天限高应盐过不克克。盐血血过限超血"
            "过当患压盐每高者压限过不超血过当每血患。"
        )
        ends = [p.end for p in split(Splitter(checkpoint, max_tokens=96, overlap=24), text)]
        assert ends == sorted(set(ends))

    def test_none_where_no_sentence_is_short_enough(self, checkpoint):
        text = "头痛要休息，" * 8
        assert texts_of(split(Splitter(checkpoint, max_tokens=16, overlap=5), text)) == texts_of(
            split(Splitter(checkpoint, max_tokens=16), text)
        )


@given(text=TEXTS, title=st.sampled_from(["", "头痛", "发热" * 8]), overlap=st.sampled_from([0, 5]))
def test_every_part_fits_and_nothing_is_lost(checkpoint, text, title, overlap):
    splitter = Splitter(checkpoint, max_tokens=16, overlap=overlap)
    cutter = TokenCutter(checkpoint.tokenizer_json, max_length=16)
    parts = split(splitter, text, title)
    for part in parts:
        assert not cutter.cut([part.passage.content])[0].truncated
    clean = text.replace("\ud800", "\ufffd")
    source = clean if parts[0].passage.title == title else f"{title} {clean}".strip()
    seen = np.zeros(len(source), bool)
    for part in parts:
        assert part.passage.text == source[part.start : part.end]
        seen[part.start : part.end] = True
    assert not "".join(np.array(list(source), dtype=object)[~seen]).strip()


@given(
    grades=st.lists(st.integers(0, 4), max_size=200),
    room=st.integers(8, 40),
    overlap=st.integers(0, 50),
)
def test_cuts_cover_all_tokens_and_go_on(grades, room, overlap):
    found = list(cuts(np.array(grades, np.int8), room=room, overlap=overlap))
    assert found[0][0] == 0
    assert found[-1][1] == len(grades)
    for (first, end), (then, last) in pairwise(found):
        assert first < then <= end < last
    assert all(last - first <= room for first, last in found)


@pytest.mark.parametrize(("place", "end"), [(4, 10), (5, 5), (6, 6), (10, 10), (11, 10)])
def test_the_best_place_is_looked_for_in_the_second_half(place, end):
    grades = np.zeros(20, np.int8)
    grades[place] = 4
    assert next(cuts(grades, room=10)) == (0, end)


def test_an_overlap_is_at_most_half_of_a_part():
    found = list(cuts(np.full(30, 3, np.int8), room=10, overlap=100))
    assert {end - then for (_, end), (then, _) in pairwise(found)} == {5}


def test_long_texts_are_cut_into_tokens_piece_by_piece(checkpoint, monkeypatch):
    text = "头痛要休息，多喝水。发热aspirin 3.5克！\n\n" * 40 + "头痛" * 100
    splitter = Splitter(checkpoint, max_tokens=32, overlap=8)
    whole = split(splitter, text)
    monkeypatch.setattr("corom.splitting._PIECE", 50)
    assert split(splitter, text) == whole
    monkeypatch.setattr("corom.splitting._CHARACTERS", 50)
    assert split(splitter, text) == whole


class TestRefused:
    @pytest.mark.parametrize("max_tokens", [0, 15, 513, -1, "64", 64.0, True])
    def test_lengths(self, checkpoint, max_tokens):
        with pytest.raises(InputError, match=f"for {checkpoint.name} is .* from 16 to 512"):
            Splitter(checkpoint, max_tokens=max_tokens)

    @pytest.mark.parametrize("overlap", [-1, 22, "5", True])
    def test_overlaps(self, checkpoint, overlap):
        with pytest.raises(InputError, match=r"parts of 64 tokens is .* from 0 to 21"):
            Splitter(checkpoint, max_tokens=64, overlap=overlap)

    def test_a_prefix_without_room(self, tiny_checkpoint):
        checkpoint = tiny_checkpoint(passage_prefix="的一是不了在有人我")
        with pytest.raises(InputError, match="leave 5; ask for more"):
            Splitter(checkpoint, max_tokens=16)

    @pytest.mark.parametrize("id_", ["", " ", None, 5, "a\ud83d"])
    def test_ids_that_are_none(self, splitter, id_):
        with pytest.raises(InputError, match="must be a str, in UTF-8"):
            list(splitter.split([Passage(id_, "头痛")]))

    @pytest.mark.parametrize("passages", [None, 5])
    def test_no_list(self, splitter, passages):
        with pytest.raises(InputError, match="split takes an iterable of passages"):
            list(splitter.split(passages))

    @pytest.mark.parametrize("id_", ["d#1", "a#b#22"])
    def test_ids_of_parts(self, splitter, id_):
        with pytest.raises(InputError, match="ends like that of a part"):
            list(splitter.split([Passage(id_, "头痛")]))

    @pytest.mark.parametrize("bad", ["头痛", None, ("d", "头痛")])
    def test_what_is_no_passage(self, splitter, bad):
        with pytest.raises(InputError, match="split takes passages"):
            list(splitter.split([bad]))

    def test_a_text_that_is_none(self, splitter):
        with pytest.raises(InputError, match="not str"):
            list(splitter.split([Passage("d", None)]))


@pytest.mark.parametrize(
    ("id_", "document"),
    [("d#1", "d"), ("d", "d"), ("#1", "#1"), ("d#", "d#"), ("d#x", "d#x"), ("a#1#22", "a#1")],
)
def test_the_text_of_a_part(id_, document):
    assert document_of(id_) == document


def test_written_parts_are_read_as_passages(splitter, tmp_path):
    path = tmp_path / "parts.jsonl"
    parts = split(splitter, "头痛要休息。" * 6, "头痛")
    write_parts(path, parts)
    assert list(open_passages(path)) == [part.passage for part in parts]
    first = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert (first["document"], first["start"], first["end"]) == ("d", 0, parts[0].end)


def test_the_example_of_the_page_runs(capsys):
    page = (Path(__file__).parents[1] / "docs" / "long-texts.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(block, "docs/long-texts.md", "exec"), {})  # noqa: S102
    said = re.search(r"# (guideline.*)", block)[1]
    assert capsys.readouterr().out == f"{said}\n"
