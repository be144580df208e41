"""What every server has to do: load, go on loading, search, take the place of an older index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from corom.errors import ArtifactError, InputError
from corom.index import VectorIndex
from corom.index.spec import BM25Options, ExactOptions, HnswOptions, IndexSpec
from corom.records import Passage
from corom.stores import open_loader, open_store
from stores.conftest import COUNT, passages, spec_of, vectors
from stores.servers import Database, Server


@pytest.fixture(params=["lite", "server", "database"])
def place(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return the URI of an index by its name."""
    if request.param == "lite":
        lite = request.getfixturevalue("lite")
        return lambda name: f"{lite}?collection={name}"
    return request.getfixturevalue(request.param).uri


def load(uri: str, spec: IndexSpec, *, count: int = COUNT, seed: int = 3) -> None:
    found = vectors(count, seed=seed)
    with open_loader(uri, spec) as loader:
        for start in range(loader.done, count, 700):
            part = slice(start, start + 700)
            loader.append(passages(count)[part], found[part])
        loader.finish()


@pytest.mark.parametrize("options", [ExactOptions(), HnswOptions(links=32, build_effort=300)])
def test_finds_what_the_exact_index_finds(place: Callable[[str], str], options: object) -> None:
    uri = place(f"found_{options.kind}")
    load(uri, spec_of(options))
    index = VectorIndex.new(vectors().shape[1])
    index.add(passages(), vectors())
    queries = vectors(20, seed=9)
    store = open_store(uri)
    assert len(store) == COUNT
    assert store.spec == spec_of(options)
    hits, expected = store.search(queries, 10), index.search(queries, 10)
    same = sum(
        len({h.id for h in a} & {h.id for h in b}) for a, b in zip(hits, expected, strict=True)
    )
    assert same >= (200 if options.kind == "exact" else 190)
    for found, true in zip(hits, expected, strict=True):
        scores = {hit.id: hit.score for hit in true}
        for hit in found:
            assert hit.score == pytest.approx(scores.get(hit.id, hit.score), abs=1e-5)
    wanted = [hit.id for hit in hits[0]]
    assert store.passages(wanted) == [passages()[int(id_[1:])] for id_ in wanted]
    with pytest.raises(InputError, match="'none' is not in the index"):
        store.passages(["p1", "none"])
    for wrong in (0, "3"):
        with pytest.raises(InputError, match="must be a whole number from 1"):
            store.search(queries, wrong)
    with pytest.raises(InputError, match="numbers"):
        store.search(queries[:, :3].copy(), 1)
    assert len(store.search(queries[:1], COUNT)[0]) <= COUNT
    store.close()


def test_equal_scores_are_in_the_order_of_ids(place: Callable[[str], str]) -> None:
    uri = place("ties")
    vector = np.full((1, 16), 0.25, np.float32)
    with open_loader(uri, spec_of(source="ties")) as loader:
        ids = [str(n) for n in (10, 9, 2, 33, 1)]
        loader.append([Passage(id_, "头痛") for id_ in ids], np.repeat(vector, 5, axis=0))
        loader.finish()
    [hits] = open_store(uri).search(vector, 3)
    assert [hit.id for hit in hits] == ["1", "2", "9"]


def test_many_equal_scores_are_in_the_order_of_ids(place: Callable[[str], str]) -> None:
    """More than are fetched at first: which of them a server gives first is chance."""
    uri, far = place("many_ties"), np.full((1, 16), -0.25, np.float32)
    order = np.random.default_rng(0).permutation(300)
    found = np.repeat(-far, 300, axis=0)
    found[order < 3] *= 1.5  # the best three, by themselves
    with open_loader(uri, spec_of(source="many", normalized=False)) as loader:
        loader.append([Passage(str(n), "头痛") for n in order], found)
        loader.finish()
    store = open_store(uri)
    for k in (1, 3, 5, 100, 299, 300, 400):
        one, other = store.search(np.concatenate([-far, far]), k)
        assert [hit.id for hit in one] == [str(n) for n in range(min(k, 300))]
        assert [hit.id for hit in other] == [str(n) for n in [*range(3, 300), 0, 1, 2]][:k]
    store.close()


ODD_IDS = (
    *("it's", 'say "x"', "back\\slash", "end\\", "new\nline", "tab\there", "\r", "\\n", "\\u0041"),
    *("' or '1'=='1", '" or id != "', "a'] or id != 'zz", '"] or id not in ["', "{ids}", "%s", "%"),
    *("头痛", "x y", "😀", "\x01", "id", "#", "--", "/*"),
)


def test_odd_ids_are_kept_and_found(place: Callable[[str], str]) -> None:
    """None of them ends a literal in what the server is asked, or asks for another passage."""
    uri, found = place("odd"), vectors(len(ODD_IDS))
    stored = [Passage(id_, f"头痛{n}") for n, id_ in enumerate(ODD_IDS)]
    with open_loader(uri, spec_of(source="odd")) as loader:
        loader.append(stored, found)
        loader.finish()
    store = open_store(uri)
    assert [hits[0].id for hits in store.search(found, 1)] == list(ODD_IDS)
    assert [store.passages([each.id]) for each in stored] == [[each] for each in stored]
    assert store.passages(ODD_IDS) == stored
    with pytest.raises(InputError, match="is not in the index"):
        store.passages(["none' or '1'=='1"])
    store.close()


def test_lone_surrogates_are_replaced(place: Callable[[str], str]) -> None:
    """As in a folder: nothing else that keeps texts takes them."""
    with open_loader(place("surrogates"), spec_of(source="surrogates")) as loader:
        loader.append([Passage("1", "头痛\ud800", "\udfff标题")], vectors(1))
        loader.finish()
    store = open_store(place("surrogates"))
    assert store.passages(["1"]) == [Passage("1", "头痛\ufffd", "\ufffd标题")]
    store.close()


def test_a_load_goes_on(place: Callable[[str], str]) -> None:
    uri, spec = place("resumed"), spec_of(source="resumed")
    with open_loader(uri, spec) as loader:
        for start in range(0, 2100, 700):
            part = slice(start, start + 700)
            loader.append(passages()[part], vectors()[part])
    with pytest.raises(ArtifactError, match="no finished index"):
        open_store(uri)
    with open_loader(uri, spec) as loader:
        assert 0 < loader.done <= 2100
        assert not loader.complete
    load(uri, spec)
    store = open_store(uri)
    assert len(store) == COUNT
    every = [p.id for p in passages()]
    assert [
        p.id for start in range(0, COUNT, 500) for p in store.passages(every[start : start + 500])
    ] == every
    with open_loader(uri, spec) as loader:
        assert loader.complete
        assert loader.done == COUNT


def test_a_new_index_takes_the_name_in_one_step(place: Callable[[str], str]) -> None:
    uri = place("renewed")
    load(uri, spec_of(source="old"), count=1200)
    old = open_store(uri)
    spec = spec_of(source="new")
    with open_loader(uri, spec) as loader:
        loader.append(passages(), vectors(seed=8))
        assert len(open_store(uri)) == 1200
        assert old.search(vectors(1), 1)[0][0].id == "p0"
        loader.finish()
    assert len(open_store(uri)) == COUNT
    assert open_store(uri).spec.source == "new"
    assert open_store(uri).search(vectors(1, seed=8), 1)[0][0].id == "p0"


def test_names_that_differ_in_capitals_are_two_indexes(place: Callable[[str], str]) -> None:
    for name in ("Cased", "cased", "CASED"):
        with open_loader(place(name), spec_of(source="cased")) as loader:
            assert not loader.complete
            loader.append(passages(5), vectors(5))
            loader.finish()
    for name in ("Cased", "cased", "CASED"):
        store = open_store(place(name))
        assert len(store) == 5
        store.close()


def test_no_index(place: Callable[[str], str]) -> None:
    with pytest.raises(ArtifactError, match="no finished index"):
        open_store(place("nothing"))


def test_what_cannot_be_kept_is_refused(place: Callable[[str], str]) -> None:
    with open_loader(place("wrong"), spec_of(source="wrong")) as loader:
        for bad, what in (
            (vectors(2) * np.float32(np.nan), "NaN"),
            (vectors(2)[:, :3].copy(), "numbers"),
            (vectors(3), "3 vectors"),
        ):
            with pytest.raises(InputError, match=what):
                loader.append(passages(2), bad)
        with pytest.raises(InputError, match="twice"):
            loader.append([passages(1)[0]] * 2, vectors(2))
    int8 = spec_of(ExactOptions(precision="int8"))
    with pytest.raises(InputError, match=r"--scan|kind exact as asked"):
        open_loader(place("wrong"), int8)


def test_no_passages(place: Callable[[str], str]) -> None:
    with open_loader(place("empty"), spec_of(source="empty")) as loader:
        loader.finish()
    store = open_store(place("empty"))
    assert len(store) == 0
    assert store.search(vectors(2), 3) == [[], []]


@pytest.mark.parametrize(
    "options", [ExactOptions(), ExactOptions(precision="binary"), HnswOptions()]
)
def test_half_vectors_and_bits_of_pgvector(database: Database, options: object) -> None:
    name = f"half_{options.kind}_{getattr(options, 'precision', '')}"
    uri = database.uri(name)
    load(uri, spec_of(options, vector_type="float16"))
    store = open_store(uri)
    queries = vectors(20)
    assert [hits[0].id for hits in store.search(queries, 5)] == [f"p{n}" for n in range(20)]


def test_words_in_milvus_lite(lite: str) -> None:
    pytest.importorskip("jieba", reason="the analyzer for Chinese of Milvus Lite needs jieba")
    spec = IndexSpec(options=BM25Options())
    with open_loader(f"{lite}?collection=words", spec) as loader:
        loader.append(passages())
        loader.finish()
    store = open_store(f"{lite}?collection=words")
    [hits, nothing] = store.search(["消化道出血", "zzz"], 10)
    found = store.passages([hit.id for hit in hits])
    assert len(hits) == 10
    assert all("消化道" in passage.text for passage in found)
    assert nothing == []


def test_words_need_a_newer_server(server: Server) -> None:
    with pytest.raises(InputError, match=r"needs Milvus 2\.5"):
        open_loader(server.uri("words"), IndexSpec(options=BM25Options()))


def test_a_collection_of_somebody_else_is_left_alone(lite: str, tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(str(tmp_path / "lite.db"))
    client.create_collection("theirs", dimension=4)
    client.close()
    uri = f"{lite}?collection=theirs"
    for action in (lambda: open_store(uri), lambda: open_loader(uri, spec_of())):
        with pytest.raises(ArtifactError, match="did not make"):
            action()


@pytest.mark.parametrize("uri", ["milvus://127.0.0.1:1/a", "postgresql://u@127.0.0.1:1/d/a"])
def test_no_columns_are_kept(uri: str) -> None:
    with pytest.raises(InputError, match="keeps no columns"):
        open_loader(uri, spec_of(keep=("department",)))
