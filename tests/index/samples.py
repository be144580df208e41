"""Passages, vectors and reference rankings for the tests of indexes."""

from __future__ import annotations

import numpy as np

from corom.index import BM25Options, ExactOptions, IndexSpec, VectorIndex
from corom.index.collection import Collection
from corom.index.segments import make_segment
from corom.ranking import id_ranks, top_k
from corom.records import Passage

DIM = 24
_DISEASES = ["糖尿病", "高血压", "胃炎", "肺炎", "偏头痛", "冠心病", "湿疹", "失眠", "贫血", "痛风"]
_ASKED = [
    "怎么治疗",
    "吃什么药",
    "有什么症状",
    "能不能手术",
    "饮食注意什么",
    "会不会遗传",
    "多久复查",
]
_FIELDS = [{}, *({"department": name} for name in ("儿科", "内科", "外科"))]
_DATES = [{}, *({"date": f"2025-0{month}-01"} for month in (3, 1, 4, 2))]
KEEP = ("department", "date")


def passages(n, *, ids=None):
    """Return n passages; ids are numbers that are not in order unless given."""
    ids = ids or [str(place * 7919 % 10_007) for place in range(n)]
    return [
        Passage(id_, f"{_DISEASES[i % 10]}{_ASKED[i % 7]}？第{i}位患者。", "门诊" if i % 3 else "")
        for i, id_ in enumerate(ids)
    ]


def departments(n, *, ids=None):
    """Return n passages, three of four with a department, some of those with a date."""
    return [
        passage._replace(fields=_FIELDS[place % 4] | _DATES[place % 5])
        for place, passage in enumerate(passages(n, ids=ids))
    ]


def vectors(n, *, dim=DIM, seed=0, copies=True):
    """Return n vectors around a few centres, some of them equal: those are ties."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((5, dim))
    found = centres[rng.integers(0, 5, n)] + 0.8 * rng.standard_normal((n, dim))
    if copies and n > 4:
        found[n // 2 :: 5] = found[0]
    return found.astype(np.float32)


def queries(n=6, *, dim=DIM):
    return vectors(n, dim=dim, seed=99, copies=False)


def expected(ids, passage_vectors, query_vectors, k):
    """Return the ids and scores a search must give, by products in fp32 and the ranking rule."""
    scores = np.stack([np.vecdot(passage_vectors, query) for query in query_vectors])
    best = top_k(scores, k, ranks=id_ranks(ids))
    return [
        [(ids[row], score) for row, score in zip(rows, found, strict=True)]
        for rows, found in zip(best.positions.tolist(), best.scores.tolist(), strict=True)
    ]


def spec(options, **changes):
    if isinstance(options, BM25Options):
        return IndexSpec(options=options, **changes)
    return IndexSpec(options=options, dim=DIM, fingerprint="a1b2", **changes)


def spec_for(encoder, **changes):
    """Return the spec of an index of what the encoder gives, at length 1."""
    values = {"dim": encoder.dim, "fingerprint": encoder.fingerprint, "normalized": True}
    return IndexSpec(options=ExactOptions(), **{**values, **changes})


def collection(*sizes):
    """Return a collection of so many segments, with its passages and vectors."""
    made = Collection(spec(ExactOptions()))
    everything, numbers = passages(sum(sizes)), vectors(sum(sizes))
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        made.append(make_segment(everything[part], numbers[part], spec=made.spec))
        start += size
    return made, everything, numbers


def filled(given, options, *, copies=True, **changes):
    """Return an index in memory of passages that came in three parts, and their vectors."""
    index, numbers = VectorIndex.new(DIM, options, **changes), vectors(len(given), copies=copies)
    for part in (slice(0, 300), slice(300, 301), slice(301, None)):
        index.add(given[part], numbers[part])
    return index, numbers


def append(writer, given, numbers, *, size, start=0):
    """Append passages, with vectors if there are any, so many at a time."""
    for place in range(start, len(given), size):
        part = slice(place, min(place + size, len(given)))
        writer.append(given[part], None if numbers is None else numbers[part])


def vectors_for(options, n, **options_of_vectors):
    return None if isinstance(options, BM25Options) else vectors(n, **options_of_vectors)
