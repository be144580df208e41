"""The exhaustive first pass: products of all queries with all vectors, block by block.

OpenVINO multiplies, in fp32 or int8, or in bf16 where the chip does: elsewhere it would take
fifty times as long as fp32. Large int8 codes are multiplied in fp32, too, where the chip would add
up their products in 16 bits. A sample of the vectors tells beforehand about how high a score must
be to count, so that all but a few of the products are compared with one number and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.engines.processor import has_bf16
from corom.engines.quiet_openvino import op, ov
from corom.index.collection import Collection, Part
from corom.index.selection import GONE, LOW, Keys, Scores, Selection, capacity
from corom.index.spec import Precision, VectorType
from corom.vectors import Vectors

BLOCK = 8192
"""vectors multiplied at a time"""
SAMPLE = 16384
"""vectors the floors are guessed from"""
_PRODUCTS = 2**23  # scores in memory at a time: 32 MB
_FEW = 2  # living rows are few where they are one in so many, or less
_RUN = 32  # sampled rows lie together in runs: fewer pages to read
_INTEGERS = "int8"
_TYPES = {"float32": np.float32, "float16": np.float16, _INTEGERS: np.int8}


class _Block(NamedTuple):
    rows: NDArray[np.int64]
    stored: NDArray[Any]
    scales: NDArray[np.float32] | None


class Scanner:
    """Finds the rows with the highest products, for collections of one dimension and type."""

    def __init__(self, dim: int, precision: Precision, *, vector_type: VectorType) -> None:
        self._dim, self._packed = dim, precision == "binary"
        self._coded, self._scaled = precision in ("int8", "binary"), precision == "int8"
        self._part: Part = "codes" if self._coded else "vectors"
        if self._scaled:
            self._compiled = _for_codes(dim)
        else:
            hint = "bf16" if precision == "bf16" and has_bf16() else "f32"
            self._compiled = _compiled(dim, _INTEGERS if self._packed else vector_type, hint)

    def rows(self, collection: Collection, queries: Vectors, k: int) -> NDArray[np.int64]:
        """Return the `min(k, n)` best rows of each query, ascending, `(queries, min(k, n))`."""
        k = min(k, len(collection))
        found = np.empty((len(queries), k), np.int64)
        batch = max(1, _PRODUCTS // max(BLOCK, 2 * capacity(k)))
        for start in range(0, len(queries) if k else 0, batch):
            tags = self._select(collection, queries[start : start + batch], k)
            found[start : start + batch] = np.sort(collection.rows_ranked(LOW - tags), axis=1)
        return found

    def _select(self, collection: Collection, queries: Vectors, k: int) -> Keys:
        if self._coded:
            # Only the order of one query's scores matters: any scale will do.
            highest = np.abs(queries).max(axis=1, keepdims=True)
            queries = np.divide(queries, highest, out=np.zeros_like(queries), where=highest > 0)
        multiply = _Multiplier(self._compiled, queries)
        selection = Selection(k, self._guess(multiply, collection, k))
        self._stream(multiply, collection, selection)
        tags = selection.tags()
        if (short := selection.short).size:
            # The sample misled: these queries go again, without a floor.
            multiply = _Multiplier(self._compiled, queries[short])
            selection = Selection(k, np.full(len(short), -np.inf, np.float32))
            self._stream(multiply, collection, selection)
            tags[short] = selection.tags()
        return tags

    def _guess(self, multiply: _Multiplier, collection: Collection, k: int) -> Scores:
        """Return, per query, a score that almost surely k passages and a few more reach."""
        runs = min(SAMPLE, collection.rows // 8) // _RUN
        starts = np.linspace(0, collection.rows - _RUN, runs).astype(np.int64)
        rows = (starts[:, None] + np.arange(_RUN)).ravel()
        rows = rows[collection.alive[rows]]
        expected = k * len(rows) / len(collection)
        place = ceil(expected + 4 * sqrt(expected) + 4)
        if place >= len(rows):
            return np.full(multiply.queries, -np.inf, np.float32)
        scales = collection.take("scales", rows) if self._scaled else None
        scores = multiply(self._unpacked(collection.take(self._part, rows)), scales)
        return np.partition(scores, len(rows) - place, axis=1)[:, len(rows) - place]

    def _stream(self, multiply: _Multiplier, collection: Collection, selection: Selection) -> None:
        ranks, alive = collection.ranks, collection.alive
        for rows, stored, scales in self._blocks(collection):
            scores = multiply(self._unpacked(stored), scales)
            rank = rows if ranks is None else ranks[rows]
            selection.offer(scores, np.where(alive[rows], LOW - rank, GONE))

    def _blocks(self, collection: Collection) -> Iterator[_Block]:
        """Yield what is multiplied at a time: all rows as they lie, or the living, if they are few.

        Those are gathered, which is faster from half of them on.
        """
        if len(collection) * _FEW < collection.rows:
            living = np.flatnonzero(collection.alive)
            for start in range(0, len(living), BLOCK):
                rows = living[start : start + BLOCK]
                scales = collection.take("scales", rows) if self._scaled else None
                yield _Block(rows, collection.take(self._part, rows), scales)
            return
        for first, segment in collection.placed():
            stored = getattr(segment, self._part)
            for start in range(0, len(stored), BLOCK):
                part = slice(start, start + BLOCK)
                rows = np.arange(first + start, first + min(start + BLOCK, len(stored)))
                scales = None if segment.scales is None else segment.scales[part]
                yield _Block(rows, stored[part], scales)

    def _unpacked(self, stored: NDArray[Any]) -> NDArray[Any]:
        if not self._packed:
            return stored
        return np.unpackbits(stored, axis=1, count=self._dim).view(np.int8)


class _Multiplier:
    """Multiplies one batch of queries with block after block."""

    def __init__(self, compiled: Any, queries: Vectors) -> None:  # noqa: ANN401 - untyped library
        self._request = compiled.create_infer_request()
        self._given = queries
        self._scaled = len(compiled.inputs) == 3
        self.queries = len(queries)

    def __call__(self, block: NDArray[Any], scales: NDArray[np.float32] | None) -> Scores:
        """Return the `(queries, b)` scores of a block, valid until the next call."""
        given = [self._given, block]
        if self._scaled:
            ones = np.ones(len(block), np.float32)
            given.append((ones if scales is None else scales)[None])
        scores: Scores = self._request.infer(given, share_inputs=True, share_outputs=True)[0]
        return scores


def _for_codes(dim: int) -> ov.CompiledModel:
    """Return the graph for int8 codes of all sizes: of integers if this chip adds them up."""
    whole = _compiled(dim, _INTEGERS, "f32")
    return whole if _adds_up(dim) else _compiled(dim, _INTEGERS, "f32", integers=False)


@cache
def _adds_up(dim: int) -> bool:
    """Whether the products of integers are added up in enough bits.

    Without VNNI OpenVINO adds up two of them in 16 bits (AVX2's vpmaddubsw), and takes the largest
    number that fits where their sum does not.
    """
    multiply = _Multiplier(_compiled(dim, _INTEGERS, "f32"), np.ones((1, dim), np.float32))
    found = multiply(np.full((_RUN, dim), 127, np.int8), None)
    return bool(np.allclose(found, dim * 127 / 128, rtol=1e-3))


@cache
def _compiled(dim: int, stored: str, hint: str, *, integers: bool = True) -> ov.CompiledModel:
    """Return the compiled graph, made once in a process: it holds no vectors."""
    graph = _graph(dim, stored, integers=integers)
    return ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint})


def _graph(dim: int, stored: str, *, integers: bool) -> ov.Model:
    queries = op.parameter(ov.PartialShape([-1, dim]), ov.Type.f32)
    block = op.parameter(ov.PartialShape([-1, dim]), ov.Type(_TYPES[stored]))
    inputs, left, right = [queries, block], queries, op.convert(block, ov.Type.f32)
    if stored == _INTEGERS:
        if integers:
            # This pattern is what OpenVINO turns into an integer product: numbers from -1 to 1 in
            # 256 steps on one side, integers with a scale on the other.
            low, high = op.constant(np.float32(-1)), op.constant(np.float32(127 / 128))
            left = op.fake_quantize(queries, low, high, low, high, 256)
        right = op.multiply(right, op.constant(np.float32(1 / 127)))
        inputs.append(op.parameter(ov.PartialShape([1, -1]), ov.Type.f32))
    scores = op.matmul(left, right, False, True)
    if len(inputs) == 3:
        scores = op.multiply(scores, inputs[2])
    return ov.Model([scores], inputs, "scan")
