from __future__ import annotations

import warnings

import numpy as np
import pytest

from corom.clustering import NOISE, cluster_density, cluster_kmeans, describe_clusters
from corom.errors import InputError

pytest.importorskip("sklearn")

RNG = np.random.default_rng(5)
SIZES = (12, 30, 20)
CENTRES = RNG.normal(size=(3, 24))
TRUTH = np.repeat([2, 0, 1], SIZES)  # named by size
VECTORS = np.concatenate(
    [
        centre + RNG.normal(scale=0.15, size=(size, 24))
        for centre, size in zip(CENTRES, SIZES, strict=True)
    ]
).astype(np.float32)


def test_kmeans_finds_the_groups_whatever_the_lengths() -> None:
    assert cluster_kmeans(VECTORS, 3).tolist() == TRUTH.tolist()
    lengths = RNG.uniform(0.1, 50, size=(len(VECTORS), 1)).astype(np.float32)
    assert cluster_kmeans(VECTORS * lengths, 3).tolist() == TRUTH.tolist()
    first, again = (cluster_kmeans(VECTORS, 7, seed=3) for _ in range(2))
    assert first.tolist() == again.tolist()


def test_density_finds_the_groups_and_leaves_strays_alone() -> None:
    strays = -CENTRES.sum(axis=0, keepdims=True) + RNG.normal(scale=9, size=(3, 24))
    labels = cluster_density(np.concatenate([VECTORS, strays]).astype(np.float32))
    assert labels[: len(VECTORS)].tolist() == TRUTH.tolist()
    assert labels[len(VECTORS) :].tolist() == [NOISE] * 3


def test_few_and_equal_vectors() -> None:
    one = np.ones((1, 4), np.float32)
    none = np.empty((0, 4), np.float32)
    assert cluster_kmeans(one, 1).tolist() == [0]
    assert cluster_density(one).tolist() == [NOISE]
    assert cluster_density(none).tolist() == []
    assert describe_clusters(cluster_density(none), none, []) == []
    assert cluster_density(np.ones((9, 4), np.float32)).tolist() == [0] * 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cluster_kmeans(np.ones((9, 4), np.float32), 2).tolist() == [0] * 9
    for seed in (-1, 2**32, 1.0):
        with pytest.raises(InputError, match="seed is"):
            cluster_kmeans(one, 1, seed=seed)
    with pytest.raises(InputError, match="0 vectors cannot make 1"):
        cluster_kmeans(none, 1)


@pytest.mark.parametrize("count", [0, -1, 63, 2.0, "3"])
def test_impossible_numbers_of_clusters(count: int) -> None:
    with pytest.raises(InputError, match="62 vectors cannot make"):
        cluster_kmeans(VECTORS, count)


def test_what_cannot_be_clustered_is_refused() -> None:
    broken = VECTORS.copy()
    broken[3, 3] = np.nan
    with pytest.raises(InputError, match="finite"):
        cluster_kmeans(broken, 2)
    with pytest.raises(InputError, match="is 1; it must be a whole number from 2"):
        cluster_density(VECTORS, least=1)
    with pytest.raises(InputError, match="62 labels, 62 vectors and 1 texts"):
        describe_clusters(TRUTH, VECTORS, ["a"])


def test_a_description_starts_with_the_medoid_and_names_telling_words() -> None:
    texts = (
        [f"糖尿病血糖控制{n}" for n in range(3)] + [f"皮肤湿疹瘙痒{n}" for n in range(2)] + ["饮食"]
    )
    labels = np.array([0, 0, 0, 1, 1, NOISE])
    vectors = np.array([[1, 0.3], [1, 0], [1, -0.2], [0, 1], [0.1, 1], [1, 1]], np.float32)
    diabetes, skin = describe_clusters(labels, vectors, texts, keywords=4)
    assert diabetes.rows[0] == 1
    assert set(diabetes.rows) == {0, 1, 2}
    assert set(skin.rows) == {3, 4}
    assert {"糖尿病", "血糖"} <= set(diabetes.keywords)
    assert {"湿疹", "瘙痒"} <= set(skin.keywords)
    assert not set(diabetes.keywords) & set(skin.keywords)
    assert 0.9 < diabetes.cohesion < 1
    unit = vectors[:3] / np.linalg.norm(vectors[:3], axis=1, keepdims=True)
    assert diabetes.rows[0] == int((unit @ unit.T).sum(axis=1).argmax())
