from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from corom import similarity
from corom.encoder import Encoder
from corom.errors import InputError
from corom.models.checkpoint import Checkpoint
from corom.records import Hit, Passage
from corom.similarity import (
    ClosePairs,
    Score,
    close_pairs,
    group_pairs,
    rank_passages,
    score_matrix,
    score_pairs,
)

RNG = np.random.default_rng(3)
LEFT = RNG.normal(size=(4, 16)).astype(np.float32)
RIGHT = RNG.normal(size=(4, 16)).astype(np.float32)


def by_hand(a: np.ndarray, b: np.ndarray, score: Score) -> float:
    if score == "dot":
        return float(a @ b)
    if score == "cosine":
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return float(np.linalg.norm(a - b))


@pytest.mark.parametrize("score", ["dot", "cosine", "l2"])
def test_scores_are_those_of_the_definition(score: Score) -> None:
    matrix = score_matrix(LEFT, RIGHT[:3], score=score)
    expected = [[by_hand(a, b, score) for b in RIGHT[:3]] for a in LEFT]
    np.testing.assert_allclose(matrix, expected, rtol=1e-5)
    pairs = score_pairs(LEFT, RIGHT, score=score)
    np.testing.assert_allclose(pairs, np.diag(score_matrix(LEFT, RIGHT, score=score)), rtol=1e-5)
    assert matrix.dtype == pairs.dtype == np.float32


def test_l2_of_equal_and_of_close_vectors_does_not_cancel() -> None:
    long = LEFT * 100
    close = long.copy()
    close[:, 0] += 0.01
    assert np.diag(score_matrix(long, long, score="l2")).max() < 1e-4
    np.testing.assert_allclose(np.diag(score_matrix(long, close, score="l2")), 0.01, rtol=0.1)


@pytest.mark.parametrize("score", ["dot", "cosine", "l2"])
def test_no_vectors_give_no_scores(score: Score) -> None:
    none = np.empty((0, 16), np.float32)
    assert score_matrix(LEFT, none, score=score).shape == (4, 0)
    assert score_matrix(none, LEFT, score=score).shape == (0, 4)
    assert score_pairs(none, none, score=score).shape == (0,)


def test_a_zero_vector_has_cosine_zero() -> None:
    assert score_matrix(np.zeros((1, 16), np.float32), LEFT, score="cosine").tolist() == [[0] * 4]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="none of dot, cosine, l2"):
        score_matrix(LEFT, RIGHT, score="euclid")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="16 and 8 numbers"):
        score_matrix(LEFT, RIGHT[:, :8])
    with pytest.raises(InputError, match="none of dot, cosine, l2"):
        score_pairs(LEFT, RIGHT, score="euclid")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="16 and 8 numbers"):
        score_pairs(LEFT, RIGHT[:, :8])
    with pytest.raises(InputError, match="not 4, 3"):
        score_pairs(LEFT, RIGHT[:3])
    with pytest.raises(InputError, match=r"\(n, dim\)"):
        score_matrix(LEFT[0], RIGHT)


class Lengths:
    """Stands in for an Encoder: a text's vector is its length."""

    def encode_queries(self, texts: Iterable[str]) -> np.ndarray:
        return np.array([[len(text)] for text in texts], np.float32).reshape(-1, 1)

    encode_passages = encode_queries


def test_what_is_no_vector_or_passage_is_named(tiny_checkpoint: Callable[..., Checkpoint]) -> None:
    with pytest.raises(InputError, match="array, not list"):
        score_matrix([[1.0]], [[1.0]])
    encoder = Encoder.load(tiny_checkpoint().folder, precision="fp32")
    with pytest.raises(InputError, match=r"Passage\(id, text\), not str"):
        rank_passages(encoder, "头痛", ["头痛"])


def test_passages_are_ranked_by_the_one_rule() -> None:
    encoder: Any = Lengths()
    passages = [Passage("10", "饮食"), Passage("9", "饮食"), Passage("b", "咳嗽", "头痛")]
    hits = rank_passages(encoder, "糖尿病", passages)
    assert hits == [Hit("b", 15.0), Hit("9", 6.0), Hit("10", 6.0)]
    assert rank_passages(encoder, "糖尿病", passages, k=1) == hits[:1]
    assert rank_passages(encoder, "糖尿病", []) == []
    with pytest.raises(InputError, match="'9' occurs twice"):
        rank_passages(encoder, "糖尿病", [passages[1], passages[1]])


def test_ranking_uses_the_encoders_vectors(tiny_checkpoint: Callable[..., Checkpoint]) -> None:
    encoder = Encoder(tiny_checkpoint(), precision="fp32")
    hits = rank_passages(encoder, "糖尿病", [Passage("1", "饮食"), Passage("2", "咳嗽", "头痛")])
    expected = (
        encoder.encode_passages(["饮食", "头痛 咳嗽"]) @ encoder.encode_queries(["糖尿病"])[0]
    )
    assert [score for _, score in sorted(hits)] == pytest.approx(expected.tolist(), rel=1e-4)


class TestClosePairs:
    """Every two rows that score enough."""

    @pytest.mark.parametrize("score", ["dot", "cosine"])
    @pytest.mark.parametrize("block", [1, 300, 1 << 24])
    def test_they_are_those_of_the_matrix(self, score, block, monkeypatch):
        monkeypatch.setattr(similarity, "_BLOCK", block)
        vectors = RNG.normal(size=(50, 8)).astype(np.float32)
        matrix = score_matrix(vectors, vectors, score=score)
        found = close_pairs(vectors, above=np.float64(0.5), score=score)
        rows = np.argwhere(np.triu(matrix >= 0.5, k=1))
        assert sorted(map(tuple, found.rows.tolist())) == list(map(tuple, rows.tolist()))
        np.testing.assert_allclose(found.scores, matrix[*found.rows.T], rtol=1e-5)
        assert (np.diff(found.scores) <= 0).all()
        assert (found.rows.dtype, found.scores.dtype) == (np.int64, np.float32)

    def test_equal_ones_come_in_order(self):
        found = close_pairs(np.ones((4, 2), np.float32), above=1.0, score="dot")
        assert found.rows.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
        assert found.scores.tolist() == [2] * 6

    @pytest.mark.parametrize(("score", "above"), [("dot", 1.0), ("dot", 1e4), ("cosine", 1.0)])
    def test_equal_texts_are_all_found(self, score, above):
        vectors = RNG.normal(size=(300, 512)).astype(np.float32)
        vectors *= np.sqrt(above) / np.linalg.norm(vectors, axis=1, keepdims=True)
        found = close_pairs(np.concatenate([vectors, vectors]), above=above, score=score)
        assert sorted(map(tuple, found.rows.tolist())) == [(n, n + 300) for n in range(300)]
        if score == "cosine":
            assert found.scores.max() <= 1

    @pytest.mark.parametrize("count", [0, 1])
    def test_none_and_one_have_no_pair(self, count):
        found = close_pairs(LEFT[:count], above=-1)
        assert (found.rows.shape, found.scores.shape) == ((0, 2), (0,))

    def test_refused(self):
        with pytest.raises(InputError, match="more than 2 pairs score 0 or more"):
            close_pairs(np.ones((3, 2), np.float32), above=0, most=2)
        assert len(close_pairs(np.ones((3, 2), np.float32), above=0, most=3).rows) == 3
        with pytest.raises(InputError, match="lower where texts are closer"):
            close_pairs(LEFT, above=0, score="l2")
        with pytest.raises(InputError, match="none of"):
            close_pairs(LEFT, above=0, score="euclid")
        for above in (float("nan"), float("inf"), None, "0.5", True):
            with pytest.raises(InputError, match=f"above is {above!r}; it must be a finite"):
                close_pairs(LEFT, above=above)
        with pytest.raises(InputError, match="a cosine is at most 1"):
            close_pairs(LEFT, above=np.float32(1.5))
        with pytest.raises(InputError, match="NaN"):
            close_pairs(np.full((2, 2), np.nan, np.float32), above=0)
        with pytest.raises(InputError, match="must be"):
            close_pairs(LEFT[0], above=0)


def test_equal_vectors_score_alike_whatever_stands_around_them():
    rng = np.random.default_rng(0)
    query, vector = rng.normal(size=(2, 1, 512)).astype(np.float32)
    for count in range(2, 20):
        for score in ("dot", "cosine"):
            found = score_matrix(query, np.repeat(vector, count, axis=0), score=score)
            assert len(set(found[0].tolist())) == 1


class TestGroupPairs:
    """What pairs connect."""

    @staticmethod
    def pairs(*rows: tuple[int, int]) -> ClosePairs:
        return ClosePairs(
            np.array(rows, np.int64).reshape(-1, 2), np.ones(len(rows), dtype=np.float32)
        )

    def test_the_first_has_most_neighbours_then_the_lowest_id(self):
        ids = [["10"], ["9"], ["a"], ["b"], ["c"], ["x"], ["8"], ["7"]]
        found = group_pairs(self.pairs((0, 1), (2, 3), (3, 4), (6, 7)), ids)
        assert found == [["b", "a", "c"], ["7", "8"], ["9", "10"]]

    def test_chains_and_rings_are_one_group_in_any_order(self):
        rows = [(n, n + 1) for n in range(99)] + [(0, 99)]
        ids = [[str(n)] for n in range(100)]
        for order in (rows, rows[::-1], [*rows[::2], *rows[1::2]]):
            found = group_pairs(self.pairs(*order), ids)
            assert found == [[str(n) for n in range(100)]]

    def test_equal_texts_are_neighbours_of_each_other(self):
        seven = [str(n) for n in range(7)]
        assert group_pairs(self.pairs(), [seven, ["alone"]]) == [seven]
        every = [(a, b) for a in range(7) for b in range(a + 1, 7)]
        assert group_pairs(self.pairs(*every), [[id_] for id_ in seven]) == [seven]
        # c is close to a and both b; a, and each b, to two others.
        assert group_pairs(self.pairs((0, 2), (1, 2)), [["a"], ["b1", "b2"], ["c"]]) == [
            ["c", "b1", "b2", "a"]
        ]

    def test_none_and_wrong_ids(self):
        assert group_pairs(self.pairs(), []) == group_pairs(self.pairs(), [["1"]]) == []
        with pytest.raises(InputError, match="ids are lists"):
            group_pairs(self.pairs((0, 1)), ["q1", "q2"])
        with pytest.raises(InputError, match="2 lists of ids are fewer"):
            group_pairs(self.pairs((0, 2)), [["q1"], ["q2"]])
