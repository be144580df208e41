from __future__ import annotations

import pytest

from corom.records import Hit, Passage, hits_of


class TestHitsOf:
    def test_one_for_each_id_and_score(self):
        hits = hits_of(iter(["7", "问"]), [0.5, -1.0])
        assert hits == [Hit("7", 0.5), Hit("问", -1.0)]
        assert all(type(hit) is Hit for hit in hits)

    def test_none(self):
        assert hits_of([], []) == []

    @pytest.mark.parametrize(("ids", "scores"), [(["1"], []), ([], [0.5]), (["1"], [0.5, 0.4])])
    def test_as_many_scores_as_ids(self, ids, scores):
        with pytest.raises(ValueError, match="argument"):
            hits_of(ids, scores)


@pytest.mark.parametrize(
    ("title", "text", "content"),
    [("门诊", "头痛", "门诊 头痛"), ("", "头痛", "头痛"), ("门诊", "", "门诊"), ("", "", "")],
)
def test_content_is_title_and_text(title, text, content):
    assert Passage("1", text, title).content == content


def test_passages_with_fields_are_told_apart_and_can_be_in_a_set():
    plain, kept = Passage("1", "头痛"), Passage("1", "头痛", fields={"department": "内科"})
    assert plain != kept == Passage("1", "头痛", "", {"department": "内科"})
    assert {plain, kept, Passage("1", "头痛")} == {plain, kept}
