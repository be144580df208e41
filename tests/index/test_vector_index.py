from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from corom.engines.processor import has_flag, has_vnni
from corom.errors import InputError
from corom.index import (
    BM25Options,
    ExactOptions,
    HnswOptions,
    IndexSpec,
    IvfPqOptions,
    VectorIndex,
    ann,
    open_index,
    scan,
    vector_index,
)
from corom.index.collection import Collection
from corom.records import Passage
from index import samples
from index.samples import DIM, expected, passages, queries, vectors

pytestmark = pytest.mark.usefixtures("small_blocks")
N = 700


def filled(options, **how):
    index, numbers = samples.filled(passages(N), options, **how)
    return index, [passage.id for passage in passages(N)], numbers


EXACT = [ExactOptions(precision=p) for p in ("fp32", "bf16", "int8", "binary")]


@pytest.fixture(scope="module", params=EXACT, ids=lambda options: options.precision)
def exact(request):
    return filled(request.param)


class TestExact:
    @pytest.mark.parametrize("k", [1, 10, 150, N, 5 * N])
    def test_equals_products_ranked_by_the_rule(self, exact, k):
        index, ids, numbers = exact
        assert index.search(queries(), k) == expected(ids, numbers, queries(), k)

    def test_a_query_alone_gets_the_same(self, exact):
        index, _, _ = exact
        together = index.search(queries(40), 20)
        assert [index.search(query[None], 20)[0] for query in queries(40)] == together

    def test_many_batches_of_queries(self, exact, monkeypatch):
        index, _, _ = exact
        whole = index.search(queries(40), 20)
        monkeypatch.setattr(scan, "_PRODUCTS", 7 * 2 * 5024)
        assert index.search(queries(40), 20) == whole

    def test_no_queries(self, exact):
        index, _, _ = exact
        assert index.search(np.empty((0, DIM), np.float32), 3) == []
        assert index.top_k(np.empty((0, DIM), np.float32), 3).positions.shape == (0, 3)

    def test_zero_query_ties_everything(self, exact):
        index, ids, _ = exact
        hits = index.search(np.zeros((1, DIM), np.float32), 5)[0]
        assert hits == [(id_, 0.0) for id_ in sorted(ids, key=int)[:5]]

    def test_a_sample_that_misleads_costs_time_only(self, exact, monkeypatch):
        index, ids, numbers = exact
        monkeypatch.setattr(scan.Scanner, "_guess", lambda *_: np.full(6, 1e6, np.float32))
        assert index.search(queries(), 10) == expected(ids, numbers, queries(), 10)

    def test_float16(self, exact):
        options = exact[0].spec.options
        index, ids, numbers = filled(options, vector_type="float16")
        rounded = numbers.astype(np.float16).astype(np.float32)
        assert index.search(queries(), 10) == expected(ids, rounded, queries(), 10)


@pytest.mark.skipif(not has_flag("avx2"), reason="nothing is known of this chip")
@pytest.mark.parametrize("dim", [2, DIM, 512])
def test_a_chip_adds_products_up_if_it_has_instructions_for_them(dim):
    assert scan._adds_up(dim) is has_vnni()


@pytest.mark.parametrize("adds_up", [True, False])
def test_products_of_large_codes_are_right_on_every_chip(adds_up, monkeypatch):
    """A chip without VNNI adds two products of integers up in 16 bits: by fp32 there."""
    if not adds_up:
        monkeypatch.setattr(scan, "_adds_up", lambda dim: False)
    asked = np.concatenate([np.ones((1, DIM), np.float32), queries()])
    asked /= np.abs(asked).max(1, keepdims=True)
    codes = np.random.default_rng(0).choice([-127, 126, 127], (500, DIM)).astype(np.int8)
    codes[0] = 127
    scales = np.ones(500, np.float32)
    found = scan._Multiplier(scan._for_codes(DIM), asked)(codes, scales)
    right = asked @ codes.T.astype(np.float32) / 127
    assert np.abs(found - right).max() < 0.02 * np.abs(right).max()


@pytest.mark.parametrize("k", [1, 10, 5 * N])
@pytest.mark.parametrize("options", EXACT, ids=lambda options: options.precision)
def test_few_passages_need_no_first_pass(options, k, monkeypatch):
    index, ids, numbers = filled(options)
    index.remove(ids[:7])
    monkeypatch.setattr(vector_index, "_FEW", N + 1)
    monkeypatch.setattr(index, "_first", None)
    asked = queries(2**19 // (N * DIM))
    assert index.search(asked, k) == expected(ids[7:], numbers[7:], asked, k)
    with pytest.raises(AttributeError, match="NoneType"):
        index.search(queries(len(asked) + 1), k)


@pytest.mark.parametrize("vector_type", ["float32", "float16"])
def test_what_was_added_is_the_callers_to_change(vector_type):
    given, numbers = passages(3), vectors(3)
    index = VectorIndex.new(DIM, vector_type=vector_type)
    index.add(given, numbers)
    whole = index.search(numbers, 3)
    first = given[0]
    given.clear()
    held, asked = numbers, numbers.copy()
    held[:] = 0
    assert index.search(asked, 3) == whole
    assert index.passages([first.id]) == [first]


def test_copies_of_an_index_find_the_same():
    index, numbers = VectorIndex.new(DIM), vectors(3)
    index.add(passages(3), numbers)
    pickled = pickle.loads(pickle.dumps(index))  # noqa: S301 - our own
    for again in (pickled, copy.deepcopy(index)):
        assert again.search(numbers, 2) == index.search(numbers, 2)


def test_a_mapped_array_is_not_copied():
    index, numbers = VectorIndex.new(DIM), vectors(3)
    index.add(passages(3), numbers, copy=False)
    assert index.collection.segments[0].vectors is numbers


def test_removed_passages_are_not_found():
    index, ids, numbers = filled(EXACT[2])
    gone = [hits[0].id for hits in index.search(queries(), 1)]
    index.remove(sorted(set(gone)))
    left = [row for row, id_ in enumerate(ids) if id_ not in gone]
    assert len(index) == len(left)
    kept = [ids[row] for row in left]
    assert index.search(queries(), N) == expected(kept, numbers[left], queries(), N)
    index.add([Passage(gone[0], "回来了")], queries()[:1])
    assert index.search(queries()[:1], 1)[0][0].id == gone[0]


@pytest.mark.parametrize("n", [0, 1, 2, 17])
@pytest.mark.parametrize("options", [*EXACT, HnswOptions(), IvfPqOptions(bytes_per_vector=8)])
def test_few_passages(n, options):
    index = VectorIndex.new(DIM, options)
    index.add(passages(n), vectors(n))
    ids = [passage.id for passage in passages(n)]
    assert index.search(queries(), 5) == (expected(ids, vectors(n), queries(), 5))
    assert index.top_k(queries(), 5).scores.shape == (6, min(n, 5))
    index.remove(ids)
    assert index.search(queries(), 5) == [[]] * 6


def test_other_dimensions():
    for dim in (1, 3, 100):
        index = VectorIndex.new(dim, EXACT[3])
        index.add(passages(50), vectors(50, dim=dim))
        ids = [passage.id for passage in passages(50)]
        found = index.search(queries(dim=dim), 4)
        assert found == expected(ids, vectors(50, dim=dim), queries(dim=dim), 4)


class TestRefused:
    @pytest.mark.parametrize(
        ("asked", "k", "message"),
        [
            (queries(), 0, "k is 0"),
            (queries(), 2.0, "k is 2.0"),
            (queries(dim=7), 1, "7 numbers, the index has 24"),
            (queries()[0], 1, "float32 array"),
            (queries().astype(np.float64), 1, "not float64"),
            (np.full((1, DIM), np.nan, np.float32), 1, "NaN"),
            ("头痛", 1, "not str"),
        ],
    )
    def test_queries(self, exact, asked, k, message):
        with pytest.raises(InputError, match=message):
            exact[0].search(asked, k)

    def test_passages(self, exact):
        index, ids, _ = exact
        with pytest.raises(InputError, match="already"):
            index.add([Passage(ids[5], "")], vectors(1))
        with pytest.raises(InputError, match="twice"):
            index.add([Passage("n", ""), Passage("n", "")], vectors(2))
        with pytest.raises(InputError, match="'n' is not in the index"):
            index.remove(["n"])
        with pytest.raises(InputError, match="one str; give a list"):
            index.remove(ids[0])
        assert len(index) == N

    def test_options_of_words(self):
        with pytest.raises(InputError, match="dim is 24; it must be 0"):
            VectorIndex.new(DIM, BM25Options())


@pytest.fixture(scope="module", params=["hnsw", "hnsw-float32", "ivfpq"])
def approximate(request):
    pytest.importorskip("faiss")
    options = {
        "hnsw": HnswOptions(links=8, build_effort=40),
        "hnsw-float32": HnswOptions(links=8, build_effort=40, storage="float32"),
        "ivfpq": IvfPqOptions(lists=8, bytes_per_vector=12, probes=8),
    }[request.param]
    # A graph in which many passages are equal falls into islands: that is HNSW, not a mistake.
    return filled(options, copies=False)


class TestApproximate:
    def test_scores_and_order_are_exact(self, approximate):
        index, ids, numbers = approximate
        found = index.search(queries(), 10)
        wanted = expected(ids, numbers, queries(), N)
        for hits, truth in zip(found, wanted, strict=True):
            scores = dict(truth)
            assert all(scores[hit.id] == hit.score for hit in hits)
            places = [id_ for id_, _ in truth]
            assert sorted(hits, key=lambda hit: places.index(hit.id)) == hits
        recall = [
            len({hit.id for hit in hits} & {id_ for id_, _ in truth[:10]}) / 10
            for hits, truth in zip(found, wanted, strict=True)
        ]
        assert np.mean(recall) > 0.8

    def test_as_many_hits_as_asked_for(self, approximate):
        index, ids, numbers = approximate
        assert index.search(queries(), 2 * N) == expected(ids, numbers, queries(), N)

    def test_too_few_found_are_found_the_long_way(self, approximate, monkeypatch):
        index, ids, numbers = approximate
        nothing = np.full((6, 10), -1)
        monkeypatch.setattr(ann.Neighbours, "rows", lambda *_: nothing)
        assert index.search(queries(), 10) == expected(ids, numbers, queries(), 10)


def test_threads_that_search_add_each_passage_to_the_graph_once():
    pytest.importorskip("faiss")
    index = filled(HnswOptions(links=8, build_effort=40))[0]
    index.search(queries(), 5)
    index.add(passages(600, ids=[f"n{n}" for n in range(600)]), vectors(600, seed=5))
    added = []
    add = index._first._neighbours._index.add
    index._first._neighbours._index.add = lambda given: (added.append(len(given)), add(given))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: index.search(queries(), 5), range(16)))
    assert added == [600]
    assert found == found[:1] * 16


def test_neighbours_grow_and_shrink():
    pytest.importorskip("faiss")
    index, ids, _ = filled(HnswOptions(links=8, build_effort=40))
    assert len(index.search(queries(), 5)[0]) == 5
    index.add([Passage("new", "")], 3 * queries()[:1])
    assert index.search(queries()[:1], 1)[0][0].id == "new"
    index.remove(["new", *ids[:200]])
    found = index.search(queries(), 10)
    assert all(len(hits) == 10 for hits in found)
    assert not {hit.id for hits in found for hit in hits} & {"new", *ids[:200]}


def near_twins():
    """Unit vectors around 5 centres, with a cosine of 0.997 within a group."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(5, 64))[rng.integers(0, 5, 3000)]
    found += rng.normal(size=found.shape) * 0.05
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_near_twins_are_told_apart_in_one_byte_per_number():
    pytest.importorskip("faiss")
    given = near_twins()
    index = VectorIndex.new(64, HnswOptions(), normalized=True)
    index.add(passages(len(given)), given)
    truth = VectorIndex.new(64, normalized=True)
    truth.add(passages(len(given)), given)
    found, wanted = (one.top_k(given[:50], 10).positions for one in (index, truth))
    shared = [len(np.intersect1d(mine, true)) for mine, true in zip(found, wanted, strict=True)]
    assert np.mean(shared) > 9.5


def test_an_index_of_unit_vectors_takes_no_others():
    given = near_twins()[:3]
    index = VectorIndex.new(64, normalized=True)
    index.add(passages(3), given)
    for factor in (0.5, 1.1):
        wrong = given.copy()
        wrong[1] *= np.float32(factor)
        with pytest.raises(InputError, match=rf"vector 1 has length {factor}, .* of length 1"):
            index.add(passages(3, ids=["a", "b", "c"]), wrong)
        VectorIndex.new(64).add(passages(3), wrong)
    index.add([Passage("nothing", "")], np.zeros((1, 64), np.float32))
    assert len(index) == 4


def test_vectors_with_a_share_of_the_whole_are_found_though_shorter_ones_are_nearer():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    given = rng.normal(size=(3000, 64)).astype(np.float32)
    given /= np.linalg.norm(given, axis=1, keepdims=True)
    given[::2] *= np.float32(0.5)
    queries = 0.7 * given[1:101:2] + 0.3 * rng.normal(size=(50, 64)).astype(np.float32) / 8
    spec = IndexSpec(
        options=HnswOptions(), dim=64, normalized=True, part_tokens=64, whole_share=0.5
    )
    index, truth = VectorIndex(Collection(spec)), VectorIndex.new(64)
    for one in (index, truth):
        one.add(passages(3000), given)
    found, wanted = (one.top_k(queries, 10).positions for one in (index, truth))
    shared = [len(np.intersect1d(mine, true)) for mine, true in zip(found, wanted, strict=True)]
    assert np.mean(shared) > 8.5


def test_a_graph_that_was_made_with_products_is_still_opened(tmp_path, monkeypatch):
    faiss = pytest.importorskip("faiss")
    given = near_twins()[:800]
    index = VectorIndex.new(64, HnswOptions(), normalized=True)
    index.add(passages(800), given)
    with monkeypatch.context() as patch:
        patch.setattr(faiss, "METRIC_L2", faiss.METRIC_INNER_PRODUCT)
        index.save(tmp_path / "old")
    old = open_index(tmp_path / "old")
    assert len(old.search(given[:5], 10)[0]) == 10
    assert old._first._neighbours._index.metric_type == faiss.METRIC_INNER_PRODUCT


@pytest.mark.parametrize("options", [EXACT[0], EXACT[2], EXACT[3], HnswOptions()])
def test_save_and_open(options, tmp_path):
    index, ids, _ = filled(options)
    index.remove(ids[10:20])
    index.save(tmp_path / "saved")
    again = open_index(tmp_path / "saved", fingerprint="", dim=DIM, normalized=False)
    assert (len(again), again.dim, again.spec) == (N - 10, DIM, index.spec)
    # Rows have moved together; ids, scores and order have not changed.
    if options.kind == "exact":
        assert again.search(queries(), 30) == index.search(queries(), 30)
    assert again.collection.passages(again.collection.find([ids[30]])) == [passages(N)[30]]
    again.add([Passage("new", "")], queries()[:1])
    again.remove([ids[40]])
    assert len(again) == N - 10
    assert len(open_index(tmp_path / "saved")) == N - 10


def test_depth_leaves_room_for_rounding():
    for options in EXACT:
        for k in (1, 10, 1000):
            assert vector_index._depth(options, k) > k
