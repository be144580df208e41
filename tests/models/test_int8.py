from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from corom.errors import ArtifactError
from corom.models.config import Shape
from corom.models.int8 import (
    FORMAT,
    INPUTS,
    WORDS,
    Fidelity,
    InputRange,
    Int8Weights,
    Linear,
    read_fidelity,
    read_int8,
    require_pooling,
    restored_weights,
    save_int8,
)

SHAPE = Shape(layers=2, hidden=4, heads=2, intermediate=8, vocabulary=6, positions=16)
FIDELITY = Fidelity(mean_cosine=0.9995, min_cosine=0.98, top10_overlap=1, texts=40)
LAYER = "encoder.layer.0"
INNER = f"{LAYER}.intermediate.dense"


def int8_weights(shape=SHAPE, pooling="cls"):
    rng, shapes = np.random.default_rng(3), shape.weight_shapes()

    def floats(*sizes):
        return rng.uniform(0.5, 1, sizes).astype(np.float32)

    def levels(*sizes):
        return rng.integers(-127, 128, sizes).astype(np.int8)

    linears, inputs = {}, {}
    for layer in range(shape.layers - (pooling == "cls")):
        for key, names in INPUTS.items():
            for name in names:
                out, into = shapes[f"encoder.layer.{layer}.{name}.weight"]
                linear = Linear(levels(out, into), floats(out), floats(out))
                linears[f"encoder.layer.{layer}.{name}"] = linear
            inputs[f"encoder.layer.{layer}.{key}"] = InputRange(-floats(into), floats(into))
    taken = {WORDS, *(f"{name}.{part}" for name in linears for part in ("weight", "bias"))}
    others = {
        name: floats(*sizes).astype(np.float16).astype(np.float32)
        for name, sizes in shapes.items()
        if name not in taken
    }
    words, scales = levels(*shapes[WORDS]), floats(shape.vocabulary)
    return Int8Weights(linears, inputs, words, scales, others, "of what", FIDELITY)


@pytest.fixture
def altered(tmp_path):
    """Return the path of an int8 file whose tensors and metadata a function has changed."""

    def write(change, pooling="cls"):
        path = tmp_path / "model.int8.safetensors"
        save_int8(path, int8_weights(pooling=pooling))
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        change(tensors, metadata)
        contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        save_file(contiguous, path, metadata)
        return path

    return write


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("pooling", ["cls", "avg"])
def test_what_was_written_is_read(tmp_path, pooling, layers):
    path, shape = tmp_path / "a", Shape(**{**vars(SHAPE), "layers": layers})
    written = int8_weights(shape, pooling)
    save_int8(path, written)
    found = read_int8(path, shape=shape)
    assert (found.path, found.source_sha256, found.fidelity) == (path, "of what", FIDELITY)
    np.testing.assert_array_equal(found.words, written.words)
    np.testing.assert_array_equal(found.word_scales, written.word_scales)
    for kind in ("linears", "inputs", "others"):
        read, wanted = getattr(found, kind), getattr(written, kind)
        assert read.keys() == wanted.keys()
        for name in wanted:
            for one, other in zip(read[name], wanted[name], strict=True):
                np.testing.assert_array_equal(one, other)
    assert {n: w.shape for n, w in restored_weights(found).items()} == shape.weight_shapes()


def test_the_same_weights_make_the_same_file(tmp_path):
    for number in range(9):
        save_int8(tmp_path / str(number), int8_weights())
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_restored_weights_are_those_of_the_formula():
    found, x = int8_weights(), np.random.default_rng(4).normal(size=4).astype(np.float32)
    restored, linear, span = restored_weights(found), found.linears[INNER], found.inputs[INNER]
    q = (2 * x - span.low - span.high) / (span.high - span.low)
    wanted = linear.scale * (linear.weight @ q) + linear.bias
    got = restored[f"{INNER}.weight"] @ x + restored[f"{INNER}.bias"]
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    for word, scale, row in zip(found.words, found.word_scales, restored[WORDS], strict=True):
        np.testing.assert_array_equal(row, word * scale)


@pytest.mark.parametrize(
    ("cosine", "overlap", "passed"),
    [(0.999, 0.95, True), (0.9989, 1.0, False), (1.0, 0.949, False)],
)
def test_int8_is_chosen_where_it_keeps_enough(cosine, overlap, passed):
    found = Fidelity(mean_cosine=cosine, min_cosine=0.5, top10_overlap=overlap, texts=40)
    assert found.passed() is passed
    assert ("calibrate on your own text" in found.advice()) is not passed


FLOATS = {
    "a number for all words": (f"{WORDS}.scale", lambda a: a[:1]),
    "half the width": (f"{WORDS}.scale", lambda a: a.astype(np.float16)),
    "twice the width": (f"{INNER}.bias", lambda a: a.astype(np.float64)),
    "another width of a norm": (f"{LAYER}.output.LayerNorm.bias", lambda a: a.astype(np.float32)),
    "a scale for all outputs": (f"{INNER}.scale", lambda a: a[:1]),
    "a scale of no axis": (f"{INNER}.scale", lambda a: a[0]),
    "too many scales": (f"{INNER}.scale", lambda a: np.tile(a, 2)),
    "a high for all inputs": (f"{INNER}.input.high", lambda a: a[:1]),
    "a low for all inputs": (f"{INNER}.input.low", lambda a: a[:1]),
    "words as floats": (WORDS, lambda a: a.astype(np.float32)),
    "words without signs": (WORDS, lambda a: a.view(np.uint8)),
    "weights as floats": (f"{INNER}.weight", lambda a: a.astype(np.float32)),
    "turned weights": (f"{INNER}.weight", lambda a: a.T),
    "the last layer's weights as int8": (
        "encoder.layer.1.output.dense.weight",
        lambda a: a.astype(np.int8),
    ),
}


@pytest.mark.parametrize("case", FLOATS)
def test_a_tensor_of_another_type_or_shape_is_refused_by_name(altered, case):
    name, change = FLOATS[case]
    path = altered(lambda tensors, _: tensors.update({name: change(tensors[name])}))
    with pytest.raises(ArtifactError, match=rf"model\.int8\.safetensors: {name} should have "):
        read_int8(path, shape=SHAPE)


@pytest.mark.parametrize(
    "name",
    [
        f"{WORDS}.scale",
        f"{INNER}.scale",
        f"{INNER}.bias",
        f"{INNER}.input.low",
        f"{INNER}.input.high",
        f"{LAYER}.attention.self.input.high",
        f"{LAYER}.output.LayerNorm.weight",
        "embeddings.position_embeddings.weight",
        "encoder.layer.1.output.dense.weight",
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused_by_name(altered, name, value):
    path = altered(lambda tensors, _: tensors[name].flat.__setitem__(-1, value))
    with pytest.raises(ArtifactError, match=rf"safetensors: {name} holds NaN or infinite"):
        read_int8(path, shape=SHAPE)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (-3e38, 3e38), (0, 1e-44)])
def test_a_range_that_cannot_be_divided_is_refused(altered, low, high):
    def change(tensors, _):
        tensors[f"{INNER}.input.low"][1], tensors[f"{INNER}.input.high"][1] = low, high

    with pytest.raises(ArtifactError, match=rf"{INNER}\.input\.high must be above its low"):
        read_int8(altered(change), shape=SHAPE)


@pytest.mark.parametrize(
    "name",
    [
        WORDS,
        f"{WORDS}.scale",
        f"{INNER}.weight",
        f"{INNER}.bias",
        f"{INNER}.scale",
        f"{INNER}.input.low",
        f"{INNER}.input.high",
        "embeddings.LayerNorm.bias",
    ],
)
def test_a_missing_tensor_is_named(altered, name):
    path = altered(lambda tensors, _: tensors.pop(name))
    with pytest.raises(ArtifactError, match=rf"safetensors lacks the tensor {name}; make it"):
        read_int8(path, shape=SHAPE)


def test_an_input_without_its_range_is_refused(altered):
    def change(tensors, _):
        for end in ("low", "high"):
            del tensors[f"{LAYER}.attention.self.input.{end}"]

    with pytest.raises(ArtifactError, match=rf"lacks the tensor {LAYER}\.attention\.self\.input"):
        read_int8(altered(change), shape=SHAPE)


def test_a_linear_kept_as_floats_is_refused(altered):
    def change(tensors, _):
        weight = tensors[f"{INNER}.weight"]
        tensors[f"{INNER}.weight"] = weight.astype(np.float16)
        del tensors[f"{INNER}.scale"]

    with pytest.raises(ArtifactError, match=rf"{INNER}\.weight should have I8 .* has F16"):
        read_int8(altered(change), shape=SHAPE)


@pytest.mark.parametrize("name", ["encoder.layer.0.foo.scale", "encoder.layer.2.foo", "other"])
def test_a_tensor_without_a_place_is_refused(altered, name):
    path = altered(lambda tensors, _: tensors.update({name: np.ones(1, np.float32)}))
    with pytest.raises(ArtifactError, match=rf"{name} has no place"):
        read_int8(path, shape=SHAPE)


def test_a_last_layer_that_is_partly_int8_is_refused(altered):
    name = "encoder.layer.1.output.dense.scale"
    path = altered(lambda tensors, _: tensors.update({name: np.ones(4, np.float32)}))
    with pytest.raises(ArtifactError, match=r"encoder\.layer\.1\..* should have I8"):
        read_int8(path, shape=SHAPE)


def test_a_type_numpy_lacks_is_refused(tmp_path):
    header = {
        "__metadata__": {"format": FORMAT},
        WORDS: {"dtype": "BF16", "shape": [6, 4], "data_offsets": [0, 48]},
    }
    text, path = json.dumps(header).encode(), tmp_path / "a"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(48))
    with pytest.raises(ArtifactError, match=rf"{WORDS} should have I8 .*, has BF16"):
        read_int8(path, shape=SHAPE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "7",
        '{"x": 1}',
        "{}",
        "[" * 100_000,
        '{"mean_cosine": "1", "min_cosine": 1, "top10_overlap": 1, "texts": 1}',
        '{"mean_cosine": 1, "min_cosine": 1, "top10_overlap": null, "texts": 1}',
    ],
)
def test_a_fidelity_of_another_form_is_refused(altered, text):
    path = altered(lambda _, metadata: metadata.update(fidelity=text))
    with pytest.raises(
        ArtifactError, match=r"safetensors: its fidelity must hold the numbers mean"
    ):
        read_fidelity(path)


def test_without_a_fidelity_nothing_was_measured(altered):
    assert read_fidelity(altered(lambda _, metadata: metadata.pop("fidelity"))) is None


@pytest.mark.parametrize("layers", [1, 2])
def test_a_form_is_for_the_pooling_it_was_made_for(tmp_path, layers):
    shape, path = Shape(**{**vars(SHAPE), "layers": layers}), tmp_path / "a"
    of_cls, of_mean = (int8_weights(shape, pooling) for pooling in ("cls", "avg"))
    require_pooling(of_cls, "cls", shape=shape)
    for pooling in ("avg", "avg_top2", "avg_first_last"):
        require_pooling(of_mean, pooling, shape=shape)
        with pytest.raises(ArtifactError, match=rf"form was made for cls, .*{pooling}; make it"):
            require_pooling(of_cls, pooling, shape=shape)
    save_int8(path, of_mean)
    with pytest.raises(ArtifactError, match=r"/a was made for the mean of tokens, .* cls; make"):
        require_pooling(read_int8(path, shape=shape), "cls", shape=shape)
