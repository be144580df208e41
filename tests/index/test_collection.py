from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import InputError
from corom.index import BM25Options, ExactOptions
from corom.index import collection as module
from corom.index.collection import Collection
from corom.index.segments import Segment, encode_ids, make_segment, quantized
from corom.ranking import id_key, order_encoded_ids, order_ids
from corom.records import Passage
from index.samples import DIM, collection, passages, spec, vectors

IDS = st.lists(
    st.one_of(st.integers(0, 300).map(str), st.text(st.characters(exclude_categories=["Cs"]))),
    unique=True,
).map(lambda ids: [id_.replace("\0", "") for id_ in ids if "\0" not in id_])


class TestIds:
    @given(IDS)
    def test_encoded_ids_have_the_same_order(self, ids):
        assert np.array_equal(order_encoded_ids(encode_ids(ids)), order_ids(ids))

    @pytest.mark.parametrize("bad", ["a\0", "\ud800", 7, None])
    def test_unusable(self, bad):
        with pytest.raises(InputError, match="must be text without NUL"):
            encode_ids(["1", bad])

    def test_twice(self):
        with pytest.raises(InputError, match="'b' occurs twice"):
            encode_ids(["b", "a", "b"])


@pytest.mark.parametrize("repeated", ["1", "5", "z"])
def test_an_id_of_two_segments_is_named_wherever_it_stands(repeated):
    segments = [Segment(encode_ids(ids), []) for ids in (["z", "5", "1"], ["0", repeated, "7"])]
    with pytest.raises(InputError, match=f"'{repeated}' occurs twice"):
        _ = Collection(spec(ExactOptions()), segments).ranks
    removed = np.array([["z", "5", "1"].index(repeated)])
    assert Collection(spec(ExactOptions()), segments, removed=removed).find([repeated]) == [4]


def test_threads_that_come_first_get_the_same_order():
    rows = 400_000
    ranks = np.random.default_rng(0).permutation(rows).astype(np.uint32)
    ids = np.zeros(rows, "S1")
    wanted = np.argsort(ranks)[::7]
    for _ in range(10):
        fresh = Collection(
            spec(ExactOptions()), [Segment(ids, [])], ranks=ranks.copy(), settled=True
        )
        start = Barrier(8)

        def ask(index, start=start):
            start.wait()
            return index.rows_ranked(np.arange(0, rows, 7))

        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(ask, [fresh] * 8):
                assert np.array_equal(found, wanted)


@pytest.mark.parametrize("sizes", [(5,), (3, 4)])
@pytest.mark.parametrize("row", [-8, 7])
def test_rows_that_are_not_there(sizes, row):
    with pytest.raises(IndexError):
        collection(*sizes)[0].take("vectors", np.array([0, row]))


class TestSegments:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (None, "without vectors"),
            (vectors(3), "2 passages came with 3 vectors"),
            (vectors(2, dim=5), "5 numbers, the index has 24"),
            (vectors(2).astype(np.float64), "not float64"),
            (vectors(2)[0], "not float32"),
            ([[0.0] * DIM] * 2, "not list"),
            (np.full((2, DIM), np.nan, np.float32), "vector 0 holds NaN"),
            (np.array([[1.0] * DIM, [np.inf] * DIM], np.float32), "vector 1"),
            (np.full((2, DIM), 1e30, np.float32), "too large"),
        ],
    )
    def test_vectors_that_cannot_be_used(self, given, message):
        with pytest.raises(InputError, match=message):
            make_segment(passages(2), given, spec=spec(ExactOptions()))

    def test_vectors_for_an_index_of_words(self):
        with pytest.raises(InputError, match="without vectors"):
            make_segment(passages(2), vectors(2), spec=spec(BM25Options()))

    def test_too_large_for_float16(self):
        half = spec(ExactOptions(), vector_type="float16")
        with np.errstate(over="ignore"), pytest.raises(InputError, match="float16"):
            make_segment(passages(2), vectors(2) * 1e5, spec=half)

    def test_int8_codes(self):
        numbers = vectors(40)
        numbers[3] = 0
        codes, scales = quantized(numbers, "int8")
        assert np.abs(codes).max() == 127
        assert np.abs(codes * scales[:, None] - numbers).max() <= scales.max() / 2 * 1.001
        assert not codes[3].any()

    def test_binary_codes(self):
        codes, scales = quantized(vectors(5), "binary")
        assert scales is None
        assert np.array_equal(np.unpackbits(codes, axis=1, count=DIM), vectors(5) > 0)


class TestRows:
    def test_what_was_added_is_found(self):
        rows, everything, numbers = collection(3, 1, 40)
        assert (rows.rows, len(rows)) == (44, 44)
        asked = np.array([43, 0, 3, 2, 41])
        assert rows.ids(asked) == [everything[i].id for i in asked]
        assert rows.passages(asked) == [everything[i] for i in asked]
        assert np.array_equal(rows.take("vectors", asked), numbers[asked])
        assert np.array_equal(rows.take("vectors", np.sort(asked)), numbers[np.sort(asked)])
        assert rows.find([everything[i].id for i in asked]).tolist() == asked.tolist()

    def test_nothing(self):
        rows = Collection(spec(ExactOptions()))
        assert (rows.rows, len(rows), rows.ranks) == (0, 0, None)
        assert rows.ids(np.empty(0, np.int64)) == rows.passages(np.empty(0, np.int64)) == []
        with pytest.raises(InputError, match="'1' is not in the index"):
            rows.find(["1"])

    def test_ranks_are_those_of_the_ids(self):
        rows, everything, _ = collection(7, 13)
        by_rule = sorted(range(20), key=lambda i: id_key(everything[i].id))
        assert np.argsort(rows.ranks).tolist() == by_rule
        assert rows.rows_ranked(np.arange(20)).tolist() == by_rule

    def test_rows_in_order_need_no_ranks(self):
        rows = Collection(spec(BM25Options()))
        for id_ in ("8", "9", "10", "a"):
            rows.append(make_segment([Passage(id_, "")], None, spec=rows.spec))
        assert rows.ranks is None
        assert rows.find(["10"]).tolist() == [2]

    def test_repeated_ids_are_refused_across_segments(self):
        rows, everything, numbers = collection(5, 5)
        with pytest.raises(InputError, match=f"'{everything[3].id}' is in the index already"):
            rows.append(make_segment([everything[3]], numbers[:1], spec=rows.spec))
        assert rows.rows == 10

    def test_equal_hashes_are_compared_as_ids(self, monkeypatch):
        monkeypatch.setattr(module, "_hashes", lambda ids: np.zeros(len(ids), np.int64))
        rows, everything, numbers = collection(5, 5)
        with pytest.raises(InputError, match="already"):
            rows.append(make_segment([everything[7]], numbers[:1], spec=rows.spec))

    def test_remove_and_add_again(self):
        rows, everything, numbers = collection(5, 5)
        assert rows.remove([everything[3].id, everything[8].id]).tolist() == [3, 8]
        assert len(rows) == 8
        with pytest.raises(InputError, match="not in the index"):
            rows.find([everything[3].id])
        with pytest.raises(InputError, match="not in the index"):
            rows.remove([everything[3].id])
        rows.append(make_segment([everything[3]], numbers[:1], spec=rows.spec))
        assert rows.find([everything[3].id]).tolist() == [10]

    def test_full(self, monkeypatch):
        rows, _, numbers = collection(5)
        monkeypatch.setattr(module, "MAX_ROWS", 5)
        with pytest.raises(InputError, match="at most 5 rows"):
            rows.append(make_segment([Passage("x", "")], numbers[:1], spec=rows.spec))
