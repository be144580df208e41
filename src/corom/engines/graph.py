"""A BERT encoder with its pooling as an OpenVINO graph, built directly from the weights.

No framework and no export step: a graph is made in a tenth of a second. Inputs are `ids (b, t)
int32` and `lengths (b,) int32`, the first output is `(b, hidden) float32`, not normalised.

Nodes are few, and none but attention's changes the shape `(b, t, hidden)`: when a text of another
length comes every node is told its shape anew, which for a single query was a third of the time.
With [CLS] pooling the last layer is computed for [CLS] alone (see `_last_layer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corom.engines.base import LAYERS_OF, Part
from corom.engines.quiet_openvino import op, ov
from corom.errors import InputError
from corom.models.config import Pooling, Shape
from corom.models.int8 import InputRange, Int8Weights
from corom.models.weights import Weights

Node: TypeAlias = Any  # openvino's own types are not exported

_MASKED = -1e9  # far below any score, and still finite in bfloat16


def _shared(array: NDArray[Any]) -> Node:
    # The constant is a view of the array: large weights are not copied.
    return ov.op.Constant(np.ascontiguousarray(array), shared_memory=True)


def _floats(value: ArrayLike) -> Node:
    array = np.asarray(value, np.float32)
    return op.constant(array) if array.ndim == 0 else _shared(array)


def _halves(array: NDArray[np.float32]) -> Node:
    # The kernels read float16 and compute in float32.
    return op.convert(_shared(array.astype(np.float16)), "f32")


def _integers(value: ArrayLike) -> Node:
    return op.constant(np.asarray(value, np.int64))


def _index(value: int) -> Node:
    return op.constant(np.asarray(value, np.int32))


def _unit() -> tuple[Node, Node]:
    return _floats([[[-1.0]]]), _floats([[[1.0]]])


class Normed(NamedTuple):
    """A layer norm's output, and what it is made of: `rows = centred * weight + bias`."""

    centred: Node
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    rows: Node


def _affine(rows: Node, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Node:
    return op.add(op.multiply(rows, _floats(weight)), _floats(bias))


class GraphBuilder:
    """Builds one graph; `probes` keeps the node in front of each linear layer, for calibration."""

    def __init__(self, shape: Shape, weights: Weights, *, int8: Int8Weights | None = None) -> None:
        self._shape = shape
        self._weights: Mapping[str, NDArray[np.float32]] = int8.others if int8 else weights
        self._int8 = int8
        self.probes: dict[str, Node] = {}

    def build(
        self, pooling: Pooling, *, probe: bool = False, before: Part | None = None
    ) -> ov.Model:
        """Return the graph; with `probe` every probe is a further output, in order.

        With `before` (and [CLS] pooling) the output is what that part would be given: rows of all
        tokens, (b, t, hidden), or of [CLS] alone, (b, 1, hidden).
        """
        if before and pooling != "cls":
            raise InputError(f"the {before} alone needs pooling cls, not {pooling}")
        ids = op.parameter(ov.PartialShape([-1, -1]), ov.Type.i32, name="ids")
        lengths = op.parameter(ov.PartialShape([-1]), ov.Type.i32, name="lengths")
        self._measure(ids, lengths)
        rows = self._embed(ids)
        layers = self._shape.layers
        if pooling == "cls":
            for layer in range(layers - (LAYERS_OF[before] if before else 1)):
                rows = self._layer(layer, rows)
            pooled = rows.rows
            if before in (None, "last block"):
                pooled = op.squeeze(self._last_layer(layers - 1, rows.rows).rows, _integers([1]))
            if before == "last block":
                pooled = self.probes[f"encoder.layer.{layers - 1}.intermediate.dense"]
        else:
            hidden = [rows]
            for layer in range(layers):
                hidden.append(self._layer(layer, hidden[-1]))
            pooled = self._average([layer.rows for layer in hidden], pooling)
        results = [op.result(pooled)]
        if probe:
            results += [op.result(node) for node in self.probes.values()]
        return ov.Model(results, [ids, lengths], "corom")

    def _measure(self, ids: Node, lengths: Node) -> None:
        size = op.shape_of(ids, output_type="i64")
        tokens = op.gather(op.convert(size, "i32"), _index(1), _index(0))
        self._positions = op.range(_index(0), tokens, _index(1), output_type="i32")
        places = op.unsqueeze(self._positions, _index(0))
        self._real = op.less(places, op.unsqueeze(lengths, _index(1)))  # (b, t)
        bias = op.select(self._real, _floats(0.0), _floats(_MASKED))
        self._bias = op.unsqueeze(bias, _index(1))  # (b, 1, t)

    def _embed(self, ids: Node) -> Normed:
        first = _index(0)
        if self._int8:
            table = _shared(self._int8.words)
            scales = _floats(self._int8.word_scales[:, None])
            words = op.convert(op.gather(table, ids, first), "f32")
            words = op.multiply(words, op.gather(scales, ids, first))
        else:
            words = op.gather(
                _floats(self._weights["embeddings.word_embeddings.weight"]), ids, first
            )
        # corom encodes one text at a time: the token type is always 0.
        places = (
            self._weights["embeddings.position_embeddings.weight"]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        summed = op.add(words, op.gather(_floats(places), self._positions, first))
        return self._norm(summed, "embeddings.LayerNorm")

    def _norm(self, rows: Node, name: str) -> Normed:
        centred = op.mvn(rows, _integers([-1]), True, self._shape.layer_norm_eps, "INSIDE_SQRT")
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return Normed(centred, weight, bias, _affine(centred, weight, bias))

    def _span(self, name: str) -> InputRange | None:
        return self._int8.inputs.get(name) if self._int8 else None

    def _quantised(self, rows: Node, name: str) -> Node:
        """Return the input of the linear layers at `name`, on the int8 grid if it has one."""
        self.probes[name] = rows
        if (span := self._span(name)) is None:
            return rows
        low, high = _floats(span.low[None, None]), _floats(span.high[None, None])
        return op.fake_quantize(rows, low, high, *_unit(), levels=256)

    def _quantised_norm(self, normed: Normed, name: str) -> Node:
        """Return `normed` on its int8 grid; the range is folded into the norm's own scale."""
        self.probes[name] = normed.rows
        if (span := self._span(name)) is None:
            return normed.rows
        weight, bias = normed.weight / span.half, (normed.bias - span.middle) / span.half
        return self._to_grid(_affine(normed.centred, weight, bias))

    def _to_grid(self, rows: Node) -> Node:
        """Return rows in [-1, 1] on the int8 grid."""
        return op.fake_quantize(rows, *_unit(), *_unit(), levels=256)

    def _linear(
        self, rows: Node, name: str, *, gain: ArrayLike = 1.0, shift: ArrayLike = 0.0
    ) -> Node:
        """Return `gain * (weight @ x + bias) + shift`, gain and shift per output or for all."""
        quantised = self._int8.linears.get(name) if self._int8 else None
        gain = np.asarray(gain, np.float32)
        if quantised is not None:
            weight, scale, bias = quantised
            grid = op.convert(_shared(weight), "f32")
            matrix = op.multiply(grid, _floats((scale * gain)[:, None]))
            product = op.matmul(rows, matrix, False, True)
        else:
            bias = self._weights[f"{name}.bias"]
            product = op.matmul(rows, self._matrix(f"{name}.weight", gain=gain), False, True)
            product = op.multiply(product, _floats(gain)) if self._int8 else product
        offset = bias * gain + np.asarray(shift, np.float32)
        return op.add(product, _floats(offset[None, None]))

    def _matrix(self, name: str, *shape: int, gain: ArrayLike = 1.0) -> Node:
        """Return a float matrix times `gain`, in `shape` if given.

        Beside int8 it is float16, as its file has it, and without the gain, which would round it.
        One text reads every weight once: half the bytes are half the time in the last layer.
        """
        weight = self._weights[name]
        if shape:
            weight = weight.reshape(shape)
        if self._int8:
            return _halves(weight)
        gain = np.asarray(gain, np.float32)[..., None]
        return _floats(weight if (gain == 1).all() else weight * gain)

    def _heads(self, rows: Node) -> Node:
        heads = self._shape.heads
        split = op.reshape(rows, _integers([0, 0, heads, self._shape.hidden // heads]), True)
        return op.transpose(split, _integers([0, 2, 1, 3]))

    @property
    def _scale(self) -> float:
        return float((self._shape.hidden // self._shape.heads) ** -0.5)

    def _layer(self, layer: int, rows: Normed) -> Normed:
        at = f"encoder.layer.{layer}"
        inputs = self._quantised_norm(rows, f"{at}.attention.self")
        # The 1/sqrt(d) of attention is folded into the query weights.
        query = self._linear(inputs, f"{at}.attention.self.query", gain=self._scale)
        key = self._linear(inputs, f"{at}.attention.self.key")
        scores = op.matmul(self._heads(query), self._heads(key), False, True)
        scores = op.add(scores, op.unsqueeze(self._bias, _index(1)))
        value = self._heads(self._value(inputs, at))
        mixed = op.transpose(
            op.matmul(op.softmax(scores, -1), value, False, False), _integers([0, 2, 1, 3])
        )
        mixed = op.reshape(mixed, _integers([0, 0, self._shape.hidden]), True)
        name = f"{at}.attention.output.dense"
        self.probes[name] = mixed
        inputs = mixed if self._span(name) is None else self._to_grid(mixed)
        return self._after_attention(at, inputs, rows.rows)

    def _value(self, inputs: Node, at: str) -> Node:
        """Return the values; with int8, scaled and shifted so that their mixture is on the grid.

        A softmax adds up to 1: what is done to every value happens to each mixture of them.
        """
        name = f"{at}.attention.self.value"
        if (span := self._span(f"{at}.attention.output.dense")) is None:
            return self._linear(inputs, name)
        return self._linear(inputs, name, gain=1 / span.half, shift=-span.middle / span.half)

    def _after_attention(self, at: str, inputs: Node, rows: Node) -> Normed:
        out = self._linear(inputs, f"{at}.attention.output.dense")
        attended = self._norm(op.add(out, rows), f"{at}.attention.output.LayerNorm")
        inputs = self._quantised_norm(attended, f"{at}.intermediate.dense")
        inner = self._activated(self._linear(inputs, f"{at}.intermediate.dense"))
        out = self._linear(self._quantised(inner, f"{at}.output.dense"), f"{at}.output.dense")
        return self._norm(op.add(out, attended.rows), f"{at}.output.LayerNorm")

    def _activated(self, rows: Node) -> Node:
        if self._shape.activation == "relu":
            return op.relu(rows)
        return op.gelu(rows, "erf" if self._shape.activation == "gelu" else "tanh")

    def _last_layer(self, layer: int, rows: Node) -> Normed:
        """Return the last layer's output for [CLS] only, (b, 1, hidden).

        Keys and values of the other tokens are never computed. The score of token x in head h is
        q.(K x + k) = (K'q).x + q.k, and q.k is the same for every token, so softmax drops it;
        likewise the mixed values are V (sum of p_i x_i) + v. That turns two matrix products over
        all tokens into two over one: 1/12 of a 1-layer's work, and exact.
        """
        at, heads = f"encoder.layer.{layer}", self._shape.heads
        one = _integers([1])
        first = op.slice(rows, _integers([0]), one, one, one)  # (b, 1, hidden)
        query = self._linear(first, f"{at}.attention.self.query", gain=self._scale)
        scores = op.matmul(self._per_head(query, f"{at}.attention.self.key"), rows, False, True)
        mixed = op.matmul(op.softmax(op.add(scores, self._bias), -1), rows, False, False)
        value = self._matrix(f"{at}.attention.self.value.weight", heads, -1, self._shape.hidden)
        mixed = op.matmul(op.transpose(mixed, _integers([1, 0, 2])), value, False, True)
        mixed = op.transpose(mixed, _integers([1, 0, 2]))  # (b, heads, hidden / heads)
        mixed = op.reshape(mixed, _integers([0, 1, self._shape.hidden]), True)
        mixed = op.add(mixed, _floats(self._weights[f"{at}.attention.self.value.bias"][None, None]))
        return self._after_attention(at, mixed, first)

    def _per_head(self, query: Node, key: str) -> Node:
        """Return K'q for every head, (b, heads, hidden)."""
        heads, hidden = self._shape.heads, self._shape.hidden
        split = op.reshape(query, _integers([-1, heads, hidden // heads]), False)
        weight = self._matrix(f"{key}.weight", heads, -1, hidden)
        mapped = op.matmul(op.transpose(split, _integers([1, 0, 2])), weight, False, False)
        return op.transpose(mapped, _integers([1, 0, 2]))

    def _average(self, hidden: list[Node], pooling: Pooling) -> Node:
        """Return the mean over real tokens of the layers `pooling` names (ModelScope's)."""
        rows = hidden[-1]
        if pooling == "avg_top2":
            rows = op.multiply(op.add(rows, hidden[-2]), _floats(0.5))
        elif pooling == "avg_first_last":
            rows = op.multiply(op.add(rows, hidden[1]), _floats(0.5))
        real = op.unsqueeze(op.convert(self._real, "f32"), _index(2))
        summed = op.reduce_sum(op.multiply(rows, real), _integers([1]), False)
        return op.divide(summed, op.reduce_sum(real, _integers([1]), False))
