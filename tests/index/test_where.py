"""Columns that an index keeps, and searches of the passages that a filter leaves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corom.errors import InputError
from corom.files import MANIFEST
from corom.index import (
    BM25Index,
    BM25Options,
    ExactOptions,
    HnswOptions,
    IvfPqOptions,
    VectorIndex,
    Where,
    ann,
    open_index,
    open_writer,
    parse_where,
    vector_index,
)
from corom.index.columns import columns_of
from corom.index.where import matching
from corom.records import Passage
from index import samples
from index.samples import (
    DIM,
    KEEP,
    append,
    departments,
    expected,
    queries,
    spec,
    vectors,
    vectors_for,
)

pytestmark = pytest.mark.usefixtures("small_blocks")
N = 700
ASKED = ["糖尿病吃什么药", "失眠", "第3位患者"]
CHILDREN = Where(column="department", among=("儿科",))
TWO = Where(column="department", among=("内科", "外科", "没有的科"))
SPRING = Where(column="date", gte="2025-02-01", lt="2025-04-01")
FILTERS = [[], [CHILDREN], [TWO], [SPRING], [TWO, SPRING], [CHILDREN, TWO]]
VECTORS = [
    *(ExactOptions(precision=p) for p in ("fp32", "bf16", "int8", "binary")),
    HnswOptions(links=8, build_effort=40),
    IvfPqOptions(bytes_per_vector=8, lists=8),
]


def matches(where, fields):
    """Whether a passage with these fields is to be found, said in another way."""
    value = fields.get(where.column)
    return value is not None and all(
        (
            where.among is None or value in where.among,
            where.gte is None or value >= where.gte,
            where.gt is None or value > where.gt,
            where.lte is None or value <= where.lte,
            where.lt is None or value < where.lt,
        )
    )


def left(where, of):
    """The places of the passages that every filter leaves."""
    return [n for n, p in enumerate(of) if all(matches(each, p.fields) for each in where)]


class TestWritten:
    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("department=儿科", Where(column="department", among=("儿科",))),
            (" 科室 = 儿科, 内科 ", Where(column="科室", among=("儿科", "内科"))),
            ("date>=2025-03-01", Where(column="date", gte="2025-03-01")),
            ("date > 2025", Where(column="date", gt="2025")),
            ("date<=2025", Where(column="date", lte="2025")),
            ("date<2025", Where(column="date", lt="2025")),
            ("url=a=b", Where(column="url", among=("a=b",))),
            ("note=1,,2", Where(column="note", among=("1", "", "2"))),
        ],
    )
    def test_read(self, text, wanted):
        assert parse_where(text) == wanted

    @pytest.mark.parametrize(
        "text",
        # Of the last ones some would leave nothing, others everything.
        ["", "张三", "=张三", "张三=", "张三,李四=1", "张三==1", "张三>=", "张三<= ", "张三= ,"],
    )
    def test_wrong_ones_are_not_repeated(self, text):
        with pytest.raises(InputError, match="is written COLUMN=VALUE") as caught:
            parse_where(text)
        assert "张三" not in str(caught.value)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({}, "says nothing"),
            ({"among": "张三"}, "came as one"),
            ({"among": ["张三"]}, "came as one"),
            ({"among": (3,)}, "compares text"),
            ({"lt": 3}, "compares text"),
        ],
    )
    def test_wrong_values(self, values, message):
        with pytest.raises(InputError, match=message) as caught:
            Where(column="name", **values)
        assert "张三" not in str(caught.value)

    def test_values_are_not_shown(self):
        where = Where(column="name", among=("张三",), gte="李四", gt="李四", lte="李四", lt="李四")
        assert repr(where) == "Where(column='name')"


VALUES = st.text(alphabet="aé医￿😀0", min_size=1, max_size=3)
BOUND = st.none() | VALUES


class TestMatching:
    @settings(max_examples=150, deadline=None)
    @given(
        values=st.lists(st.none() | VALUES, max_size=12),
        among=st.none() | st.lists(VALUES, max_size=3).map(tuple),
        bounds=st.tuples(BOUND, BOUND, BOUND, BOUND),
    )
    def test_is_what_strings_compare_as(self, values, among, bounds):
        if among is None and bounds == (None,) * 4:
            among = ()
        gte, gt, lte, lt = bounds
        where = Where(column="c", among=among, gte=gte, gt=gt, lte=lte, lt=lt)
        held = BM25Index.new(keep=["c"])
        held.add(
            [
                Passage(str(n), "", fields={} if value is None else {"c": value})
                for n, value in enumerate(values)
            ]
        )
        found = matching([where], names=["c"], columns=columns_of(held.collection))
        assert found.tolist() == [matches(where, {"c": v} if v else {}) for v in values]

    def test_many_values(self):
        held = BM25Index.new(keep=["c"])
        held.add([Passage(str(n), "", fields={"c": f"{n:04}"}) for n in range(300)])
        [column] = columns_of(held.collection)
        assert (len(column), column.codes.dtype) == (300, np.uint16)
        assert len(held.only([Where(column="c", gte="0100", lt="0200")])) == 100

    @pytest.mark.parametrize("keep", [(), KEEP])
    def test_another_column(self, keep):
        index = VectorIndex.new(DIM, keep=keep)
        with pytest.raises(InputError, match=", ".join(keep) or "--keep") as caught:
            index.only([Where(column="张三", among=("李四",))])
        assert not {*"张三李四"} & {*str(caught.value)}


def filled(options, *, copies=True):
    given = departments(N)
    index, numbers = samples.filled(given, options, copies=copies, keep=KEEP)
    return index, given, numbers


@pytest.fixture(scope="module", params=VECTORS[:4], ids=lambda options: options.precision)
def exact(request):
    return filled(request.param)


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize("few", [0, N + 1])
@pytest.mark.parametrize("k", [1, 10, 150, 5 * N])
def test_exact_equals_an_index_of_those(exact, where, few, k, monkeypatch):
    monkeypatch.setattr(vector_index, "_FEW", few)
    index, given, numbers = exact
    rows, some = left(where, given), index.only(where)
    assert len(some) == len(rows)
    wanted = expected([given[row].id for row in rows], numbers[rows], queries(), k)
    assert some.search(queries(), k) == wanted
    assert len(index) == N


@pytest.mark.parametrize("options", VECTORS[4:], ids=lambda options: options.kind)
def test_approximate_finds_those_and_as_many_as_asked_for(options, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(ann, "SPARSE", 0)
    index, given, numbers = filled(options)
    for where in FILTERS:
        rows, some = left(where, given), index.only(where)
        ids = [given[row].id for row in rows]
        everything = expected(ids, numbers[rows], queries(), N)
        assert some.search(queries(), 2 * N) == everything
        recall = []
        for hits, all_ in zip(some.search(queries(), 10), everything, strict=True):
            assert len(hits) == min(10, len(rows))
            assert [hit for hit in all_ if hit in hits] == hits
            recall.append(len(set(hits) & set(all_[:10])) / max(1, len(hits)))
        assert not rows or np.mean(recall) > 0.8
    assert index._first is some._first  # one graph for all


@pytest.mark.parametrize(
    "options", [VECTORS[4], IvfPqOptions(bytes_per_vector=8, lists=32, probes=2)]
)
def test_the_fewer_are_left_the_farther_it_searches(options, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(ann, "SPARSE", 0)
    index, given, numbers = filled(options, copies=False)
    where = [CHILDREN, Where(column="date", among=("2025-03-01",))]
    rows, some = left(where, given), index.only(where)
    best = expected([given[row].id for row in rows], numbers[rows], queries(40), 10)
    found = some._first.of(some.collection).rows(some.collection, queries(40), 10)
    recall = [
        len({given[row].id for row in some_ if row >= 0} & {id_ for id_, _ in ten}) / 10
        for some_, ten in zip(found.tolist(), best, strict=True)
    ]
    assert len(rows) == 35
    assert np.mean(recall) > 0.85  # 0.65 and 0.2 if it did not


@pytest.mark.parametrize("options", VECTORS[4:], ids=lambda options: options.kind)
def test_of_few_the_first_pass_compares_with_each(options, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(ann.Neighbours, "rows", None)
    index, given, numbers = filled(options)
    rows = left([CHILDREN], given)
    wanted = expected([given[row].id for row in rows], numbers[rows], queries(), 10)
    assert index.only([CHILDREN]).search(queries(), 10) == wanted


@pytest.mark.parametrize("k", [1, 3, 40, 2 * N])
@pytest.mark.parametrize("where", FILTERS)
def test_words_are_the_whole_ranking_restricted(where, k):
    pytest.importorskip("tantivy")
    index, given = BM25Index.new(BM25Options(cut="bigrams"), keep=KEEP), departments(N)
    index.add(given)
    ids = {given[row].id for row in left(where, given)}
    wanted = [[hit for hit in hits if hit.id in ids][:k] for hits in index.search(ASKED, N)]
    assert index.only(where).search(ASKED, k) == wanted


@pytest.mark.parametrize("where", [CHILDREN, Where(column="place", among=("1",))])
@pytest.mark.parametrize("options", [*VECTORS, BM25Options(cut="bigrams")])
def test_it_stays_as_it_was(options, where):
    words = isinstance(options, BM25Options)
    given = [p._replace(fields={**p.fields, "place": "1"}) for p in departments(N)]
    keep = (*KEEP, "place")
    index = BM25Index.new(options, keep=keep) if words else VectorIndex.new(DIM, options, keep=keep)

    def add(part):
        index.add(given[part], *([] if words else [vectors(N)[part]]))

    add(slice(0, 650))
    asked = ASKED if words else queries(3)
    some = index.only([where])
    before = some.search(asked, 20)
    add(slice(650, N))
    index.remove([before[0][0].id, before[-1][-1].id])
    assert index.only([where]).search(asked, 20) != before
    assert some.search(asked, 20) == before
    assert some.passages([hit.id for hit in before[0]])


def test_a_filtered_index():
    index, given, _ = filled(ExactOptions())
    some = index.only([CHILDREN])
    assert some.only([SPRING]).search(queries(), 9) == index.only([CHILDREN, SPRING]).search(
        queries(), 9
    )
    assert index.only([]).search(queries(), 9) == index.search(queries(), 9)
    hit = some.search(queries(), 1)[0][0]
    assert some.passages([hit.id])[0].fields["department"] == "儿科"
    assert some.passages([given[0].id]) == given[:1]  # looked up, whatever is searched
    for change in (
        lambda: some.add([Passage("new", "")], queries()[:1]),
        lambda: some.remove([hit.id]),
    ):
        with pytest.raises(InputError, match="change the one it is of"):
            change()


def test_what_comes_and_goes(tmp_path):
    index, given, _ = filled(ExactOptions())
    before = index.only([CHILDREN])
    new = Passage("new", "", fields={"department": "儿科"})
    index.add([new], 9 * queries()[:1])
    index.remove([given[1].id])
    assert len(index.only([CHILDREN])) == len(before) == 175
    assert index.only([CHILDREN]).search(queries()[:1], 1)[0][0].id == "new"
    index.only([CHILDREN]).save(tmp_path / "children")  # what a filter leaves, in its own folder
    assert len(open_index(tmp_path / "children")) == 175


@pytest.mark.parametrize(
    ("passage", "message"),
    [
        (Passage("1", "", fields={"other": "1"}), "'other', the index keeps department, date"),
        (Passage("1", "", fields={"date": 3}), "'date' that is not text"),
        (Passage("1", "", fields={"date": ""}), "'date' that is not text"),
        (Passage("1", "", fields={"date": "张三\ud800"}), "'date' that is not text"),
    ],
)
def test_fields_that_cannot_be_kept(passage, message):
    index = BM25Index.new(keep=KEEP)
    with pytest.raises(InputError, match=message) as caught:
        index.add([passage])
    assert "张三" not in str(caught.value)
    assert len(index) == 0


class TestOnDisk:
    @pytest.fixture(params=[VECTORS[0], VECTORS[4], BM25Options(cut="bigrams")])
    def options(self, request):
        pytest.importorskip("faiss")
        pytest.importorskip("tantivy")
        return request.param

    def search(self, index, k=N):
        words = isinstance(index.spec.options, BM25Options)
        return index.search(ASKED if words else queries(), k)

    def check(self, folder, given):
        """The index in the folder finds what is left of these passages, and nothing else."""
        index = open_index(folder)
        for where in FILTERS:
            some, ids = index.only(where), {given[row].id for row in left(where, given)}
            assert len(some) == len(ids)
            wanted = [[hit for hit in hits if hit.id in ids] for hits in self.search(index)]
            assert self.search(some) == wanted
        by_id = {passage.id: passage for passage in given}
        found = index.passages(list(by_id))
        assert found == list(by_id.values())

    def test_written_changed_and_written_again(self, options, tmp_path):
        given, folder = departments(N), tmp_path / "index"
        numbers = vectors_for(options, N + 1)
        with open_writer(folder, spec(options, keep=KEEP)) as writer:
            append(writer, given, numbers, size=300)
            writer.finish()
        self.check(folder, given)
        new = Passage("new", "糖尿病", fields={"department": "内科"})
        with open_writer(folder) as writer:
            writer.remove([passage.id for passage in given[:5]])
            writer.append([new], None if numbers is None else numbers[N:])
            writer.finish()
        self.check(folder, [*given[5:], new])
        with open_writer(folder) as writer:  # most rows are gone: all is written again
            writer.remove([passage.id for passage in given[5:600]])
            writer.finish()
        assert open_index(folder).collection.rows == 101
        self.check(folder, [*given[600:], new])
        assert len(list(folder.glob("columns-*"))) == 1

    def test_a_removed_value_is_in_no_column(self, tmp_path):
        names = [Passage(str(n), "", fields={"name": name}) for n, name in enumerate("张王李赵")]
        with open_writer(tmp_path, spec(ExactOptions(), keep=("name",))) as writer:
            writer.append(names, vectors(4))
            writer.finish()
            assert holding("张", tmp_path, "columns-*/*")
            writer.remove(["0"])
            writer.finish()
        assert not holding("张", tmp_path, "columns-*/*")
        assert holding("王", tmp_path, "columns-*/*")

    def test_nothing_kept_is_written_as_before(self, tmp_path):
        with open_writer(tmp_path, spec(ExactOptions())) as writer:
            writer.append([Passage("1", "头痛")], vectors(1))
            writer.finish()
        assert '"keep"' not in (tmp_path / MANIFEST).read_text()
        assert not list(tmp_path.glob("columns-*"))
        [texts] = tmp_path.glob("texts-*")
        assert texts.read_text() == '{"id": "1", "text": "头痛"}\n'

    @pytest.mark.parametrize("n", [0, 1])
    def test_empty_and_without_values(self, n, tmp_path):
        with open_writer(tmp_path, spec(ExactOptions(), keep=KEEP)) as writer:
            writer.append([Passage("1", "")][:n], vectors(1)[:n])
            writer.finish()
        for where in FILTERS[1:]:
            assert open_index(tmp_path).only(where).search(queries(1), 3) == [[]]


def holding(text, folder, pattern):
    return [file.name for file in folder.glob(pattern) if text.encode() in file.read_bytes()]
