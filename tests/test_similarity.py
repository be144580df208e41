from __future__ import annotations

import numpy as np
import pytest

from corom.errors import InputError
from corom.similarity import Score, order_by_score, score_matrix, score_pairs

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


def test_order_is_best_first_and_stable() -> None:
    scores = np.array([1, 3, 3, 2], np.float32)
    assert order_by_score(scores).tolist() == [1, 2, 3, 0]
    assert order_by_score(scores, score="l2").tolist() == [0, 3, 1, 2]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="none of dot, cosine, l2"):
        score_matrix(LEFT, RIGHT, score="euclid")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="16 and 8 numbers"):
        score_matrix(LEFT, RIGHT[:, :8])
    with pytest.raises(InputError, match="not 4, 3"):
        score_pairs(LEFT, RIGHT[:3])
    with pytest.raises(InputError, match=r"\(n, dim\)"):
        score_matrix(LEFT[0], RIGHT)
