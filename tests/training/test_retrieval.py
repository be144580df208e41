from __future__ import annotations

import numpy as np

from corom.training.retrieval import Nearest, cuda_device


def test_the_nearest_are_the_greatest_products_best_first():
    rng = np.random.default_rng(0)
    passages = rng.normal(size=(300, 16)).astype(np.float32)
    queries = rng.normal(size=(7, 16)).astype(np.float32)
    for device in {None, cuda_device()}:
        best = Nearest(passages, device=device).search(queries, k=5)
        expected = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :5]
        np.testing.assert_array_equal(best.positions, expected)
        np.testing.assert_allclose(
            best.scores, np.take_along_axis(queries @ passages.T, expected, 1), rtol=1e-5
        )


def test_torch_tensors_on_the_cpu_give_the_same():
    rng = np.random.default_rng(1)
    passages = rng.normal(size=(50, 8)).astype(np.float32)
    queries = rng.normal(size=(3, 8)).astype(np.float32)
    exact = Nearest(passages, device=None).search(queries, k=100)
    there = Nearest(passages, device="cpu").search(queries, k=100)
    np.testing.assert_array_equal(there.positions, exact.positions)
    assert exact.positions.shape == (3, 50)
