from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import InputError
from corom.ranking import (
    fuse_rrf,
    fuse_weighted,
    id_key,
    id_ranks,
    order_ids,
    rank_hits,
    top_k,
)
from corom.records import Hit

IDS = st.one_of(st.integers(0, 200).map(str), st.text(max_size=3))


def by_the_rule(scores, ranks, k):
    return sorted(range(len(scores)), key=lambda i: (-scores[i], ranks[i]))[:k]


class TestIds:
    def test_numbers_compare_by_value(self):
        ids = ["10", "9", "30000001", "100"]
        assert [ids[i] for i in order_ids(ids)] == ["9", "10", "100", "30000001"]

    def test_others_compare_as_strings_after_the_numbers(self):
        ids = ["b", "10", "a10", "a9", "9", "-1", "四"]
        assert [ids[i] for i in order_ids(ids)] == ["9", "10", "-1", "a10", "a9", "b", "四"]

    def test_equal_numbers_written_differently_are_two_ids(self):
        assert [["1", "01"][i] for i in order_ids(["1", "01"])] == ["01", "1"]

    def test_digits_of_other_scripts_and_empty_are_strings(self):
        assert id_key("٣")[0]
        assert id_key("²")[0]
        assert id_key("")[0]

    def test_a_number_beyond_64_bits(self):
        ids = ["1" + "0" * 5000, "9" * 5000, "00", "0"]
        assert list(order_ids(ids)) == [3, 2, 1, 0]

    def test_empty(self):
        assert order_ids([]).shape == (0,)
        assert id_ranks([]).shape == (0,)

    def test_repeated_id_is_named(self):
        with pytest.raises(InputError, match="'b' occurs twice"):
            order_ids(["a", "b", "c", "b"])

    @given(st.lists(IDS, unique=True))
    def test_ranks_are_the_inverse_of_the_order(self, ids):
        ranks = id_ranks(ids)
        assert [ids[i] for i in np.argsort(ranks)] == sorted(ids, key=id_key)

    @given(st.lists(IDS, unique=True, min_size=2), st.data())
    def test_order_does_not_depend_on_the_other_ids(self, ids, data):
        kept = data.draw(st.lists(st.sampled_from(ids), unique=True))
        everything = [ids[i] for i in order_ids(ids)]
        assert [kept[i] for i in order_ids(kept)] == [i for i in everything if i in set(kept)]


class TestRankHits:
    def test_score_then_id(self):
        hits = [Hit("10", 1.0), Hit("9", 1.0), Hit("3", 2.0), Hit("1", -1.0)]
        assert [hit.id for hit in rank_hits(hits)] == ["3", "9", "10", "1"]

    def test_first_k(self):
        assert rank_hits([Hit("a", 1.0), Hit("b", 2.0)], 1) == [Hit("b", 2.0)]
        assert len(rank_hits([Hit("a", 1.0)], 5)) == 1

    def test_empty(self):
        assert rank_hits([]) == []

    def test_nan_is_refused(self):
        with pytest.raises(InputError, match="NaN"):
            rank_hits([Hit("a", 1.0), Hit("b", float("nan"))])

    def test_repeated_id_is_refused(self):
        with pytest.raises(InputError, match="'a' occurs twice"):
            rank_hits([Hit("a", 1.0), Hit("b", 1.0), Hit("a", 0.5)])

    @given(st.dictionaries(IDS, st.sampled_from([0.0, -0.0, 1.0, 1e-42, -2.5, 2.0**100])))
    def test_equals_a_sort_by_score_and_id(self, scores):
        hits = [Hit(*pair) for pair in scores.items()]
        wanted = sorted(hits, key=lambda hit: (-hit.score, id_key(hit.id)))
        assert rank_hits(hits) == wanted
        assert rank_hits(iter(wanted)) == wanted
        assert rank_hits(reversed(wanted)) == wanted

    def test_infinite_scores_are_ends(self):
        hits = [Hit("a", -np.inf), Hit("b", 1.0), Hit("c", np.inf), Hit("10", np.inf)]
        assert [hit.id for hit in rank_hits(hits)] == ["10", "c", "b", "a"]

    def test_k_below_one_is_refused(self):
        with pytest.raises(InputError, match="k is 0"):
            rank_hits([Hit("a", 1.0)], 0)


class TestTopK:
    def test_ties_at_the_cut_go_to_the_smaller_position(self):
        scores = np.array([[1, 2, 1, 1, 2, 0]], np.float32)
        found = top_k(scores, 3)
        assert found.positions.tolist() == [[1, 4, 0]]
        assert found.scores.tolist() == [[2, 2, 1]]

    def test_ties_follow_the_ranks(self):
        scores = np.array([[1, 1, 1]], np.float32)
        assert top_k(scores, 2, ranks=np.array([2, 0, 1])).positions.tolist() == [[1, 2]]

    @pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
    def test_nothing_to_rank(self, shape):
        found = top_k(np.zeros(shape, np.float32), 4)
        assert found.positions.shape == found.scores.shape == (shape[0], min(4, shape[1]))

    def test_k_beyond_n(self):
        assert top_k(np.array([[1, 3, 2]], np.float32), 9).positions.tolist() == [[1, 2, 0]]

    def test_masked_scores_come_last(self):
        scores = np.array([[-np.inf, 1, np.inf, -np.inf]], np.float32)
        assert top_k(scores, 4).positions.tolist() == [[2, 1, 0, 3]]

    def test_nan_is_refused(self):
        with pytest.raises(InputError, match="NaN"):
            top_k(np.array([[1, 2], [np.nan, 1]], np.float32), 1)

    def test_wrong_shape_type_and_k(self):
        with pytest.raises(InputError, match="1-d float32"):
            top_k(np.zeros(3, np.float32), 1)
        with pytest.raises(InputError, match="float64"):
            top_k(np.zeros((1, 3)), 1)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="k is -1"):
            top_k(np.zeros((1, 3), np.float32), -1)

    @given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50), st.integers(1, 6))
    def test_equals_a_full_sort(self, seed, n, k, levels):
        rng = np.random.default_rng(seed)
        scores = rng.integers(0, levels, (3, n)).astype(np.float32)
        ranks = rng.permutation(n)
        found = top_k(scores, k, ranks=ranks)
        assert found.positions.tolist() == [by_the_rule(row, ranks, k) for row in scores]
        assert np.array_equal(found.scores, np.take_along_axis(scores, found.positions, 1))


class TestFusion:
    RUNS = (
        {"q": [Hit("a", 9.0), Hit("b", 5.0), Hit("c", 1.0)]},
        {"q": [Hit("b", 0.3), Hit("d", 0.1)], "other": [Hit("x", 1.0)]},
    )

    def test_rrf(self):
        fused = fuse_rrf(self.RUNS)
        assert [hit.id for hit in fused["q"]] == ["b", "a", "d", "c"]
        assert fused["q"][0].score == pytest.approx(1 / 62 + 1 / 61)
        assert fused["other"] == [Hit("x", 1 / 61)]

    def test_rrf_ranks_by_the_rule_not_by_the_order_given(self):
        shuffled = [{"q": list(reversed(run["q"]))} for run in self.RUNS]
        assert fuse_rrf(shuffled)["q"] == fuse_rrf(self.RUNS)["q"]

    def test_weighted(self):
        fused = {hit.id: hit.score for hit in fuse_weighted(self.RUNS, [1.0, 2.0])["q"]}
        assert fused == {"a": 1.0, "b": 2.5, "c": 0.0, "d": 0.0}

    def test_equal_scores_count_as_best(self):
        run = {"q": [Hit("a", 0.0), Hit("b", 0.0)]}
        assert fuse_weighted([run], [0.5])["q"] == [Hit("a", 0.5), Hit("b", 0.5)]

    def test_a_run_that_counts_nothing_adds_nothing(self):
        one, other = {"q": [Hit("b", 3.0), Hit("c", 1.0)]}, {"q": [Hit("a", 9.0)], "r": []}
        fused = fuse_weighted([one, other], [1.0, 0.0])
        assert fused == {"q": [Hit("b", 1.0), Hit("c", 0.0)], "r": []}

    def test_empty(self):
        assert fuse_rrf([]) == {}
        assert fuse_rrf([{"q": []}]) == {"q": []}
        assert fuse_weighted([{"q": []}], [1.0]) == {"q": []}

    @pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
    def test_bad_weights(self, weights):
        with pytest.raises(InputError, match="weights"):
            fuse_weighted(self.RUNS, weights)

    def test_infinite_scores_cannot_be_stretched(self):
        with pytest.raises(InputError, match="infinite"):
            fuse_weighted([{"q": [Hit("a", float("-inf")), Hit("b", 1.0)]}], [1.0])

    def test_bad_constant(self):
        with pytest.raises(InputError, match="k is 0"):
            fuse_rrf(self.RUNS, k=0)
