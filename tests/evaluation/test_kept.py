from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from corom.errors import ArtifactError
from corom.evaluation import kept
from corom.evaluation.kept import KeptArrays, kept_vectors
from corom.vectors import Vectors

TEXTS = [f"第{n}段：糖尿病患者注意饮食" for n in range(10)]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SHARD", 4)


class Encode:
    """Counts what it was asked to encode."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: list[str]) -> Vectors:
        self.seen += texts
        return np.array([[hash(text) % 997, len(text)] for text in texts], np.float32)


def all_of(store: KeptArrays, texts: list[str], encode: Encode) -> Vectors:
    parts = list(kept_vectors(store, texts, encode))
    assert all(part.dtype == np.float32 for part in parts)
    return np.concatenate(parts)


def test_what_is_kept_is_not_encoded_again(tmp_path: Path) -> None:
    first, again = Encode(), Encode()
    store = KeptArrays(tmp_path, {"model": "a"})
    vectors = all_of(store, TEXTS, first)
    assert first.seen == TEXTS
    np.testing.assert_array_equal(vectors, Encode()(TEXTS))
    np.testing.assert_array_equal(all_of(store, TEXTS, again), vectors)
    assert again.seen == []
    assert len(list(tmp_path.glob("*/*.npy"))) == 3
    (options,) = tmp_path.glob("*/options.json")
    assert json.loads(options.read_text(encoding="utf-8")) == {"model": "a"}
    one, other = KeptArrays(tmp_path, {"b": 1, "a": 2}), KeptArrays(tmp_path, {"a": 2, "b": 1})
    assert one.folder == other.folder


def test_a_changed_text_costs_its_part_only(tmp_path: Path) -> None:
    store, again = KeptArrays(tmp_path, {"model": "a"}), Encode()
    all_of(store, TEXTS, Encode())
    changed = [*TEXTS[:5], "高血压", *TEXTS[6:]]
    np.testing.assert_array_equal(all_of(store, changed, again), Encode()(changed))
    assert again.seen == changed[4:8]


def test_texts_are_told_apart_and_may_repeat(tmp_path: Path) -> None:
    store, encode = KeptArrays(tmp_path, {"model": "a"}), Encode()
    all_of(store, ["ab", "c"], encode)
    all_of(store, ["a", "bc"], encode)
    all_of(store, ["a", "a", "a", "a", "a", "a", "a", "a"], encode)
    assert encode.seen == ["ab", "c", "a", "bc", "a", "a", "a", "a"]
    assert list(kept_vectors(store, [], encode)) == []
    assert all_of(store, ["\ud800"], encode).shape == (1, 2)


def test_options_are_told_apart(tmp_path: Path) -> None:
    encode = Encode()
    for options in ({"model": "a"}, {"model": "b"}, {"model": "a", "dim": 2}):
        all_of(KeptArrays(tmp_path, options), TEXTS[:1], encode)
    assert encode.seen == TEXTS[:1] * 3


def test_a_flipped_bit_is_refused_and_the_file_named(tmp_path: Path) -> None:
    store = KeptArrays(tmp_path, {"model": "a"})
    all_of(store, TEXTS, Encode())
    path = sorted(tmp_path.glob("*/*.npy"))[1]
    whole = path.read_bytes()
    for at in (0, 70, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ArtifactError, match=path.name):
            all_of(store, TEXTS, Encode())
    path.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match=path.name):
        all_of(store, TEXTS, Encode())
    path.unlink()
    np.testing.assert_array_equal(all_of(store, TEXTS, Encode()), Encode()(TEXTS))


def test_a_failed_encoding_keeps_what_came_before(tmp_path: Path) -> None:
    store, again = KeptArrays(tmp_path, {"model": "a"}), Encode()

    def fail(texts: list[str]) -> Vectors:
        if TEXTS[4] in texts:
            raise RuntimeError
        return Encode()(texts)

    with pytest.raises(RuntimeError):
        list(kept_vectors(store, TEXTS, fail))
    all_of(store, TEXTS, again)
    assert again.seen == TEXTS[4:]
