"""The kernels: against OpenVINO's int8, and against themselves in other batches and threads."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, c_size_t, c_void_p

import numpy as np
import pytest

from corom.encoder import Encoder
from corom.engines import native_engine
from corom.engines.compression import bundled_texts, compress
from corom.engines.native_model import _Linear, aligned, fits, halves_in_panels, in_panels
from corom.errors import InputError
from corom.models.config import Shape
from corom.models.int8 import save_int8
from corom.models.weights import INT8
from corom.tokens import batches
from corom.vectors import cosines

CALIBRATION, HELD_OUT = bundled_texts()
TEXTS = ["头痛发热吃什么药", "", "ct mri abc 123", "高血压" * 200, "糖尿病患者饮食，注意休息。"]
SPARE_ROWS = 3  # rows past the last that the kernels may touch

needs_kernels = pytest.mark.skipif(
    native_engine.problem() is not None, reason=str(native_engine.problem())
)


@pytest.fixture
def int8_checkpoint(tiny_checkpoint, tiny_shape):
    """A checkpoint whose sizes fit the kernels, with its int8 form beside it."""

    def make(*, layers=3, hidden=64, inner=160, heads=2, **options):
        sizes = {"layers": layers, "hidden": hidden, "intermediate": inner, "heads": heads}
        checkpoint = tiny_checkpoint(shape=Shape(**{**vars(tiny_shape), **sizes}), **options)
        made = compress(checkpoint, calibration=CALIBRATION[:60], held_out=HELD_OUT[:40])
        save_int8(checkpoint.folder / INT8, made)
        return checkpoint

    return make


@needs_kernels
@pytest.mark.parametrize("pooling", ["cls", "avg", "avg_top2", "avg_first_last"])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_every_pooling_and_depth_is_what_openvino_computes(int8_checkpoint, pooling, layers):
    checkpoint = int8_checkpoint(pooling=pooling, layers=layers, max_length=512)
    texts = TEXTS + HELD_OUT[:40]
    wanted = Encoder(checkpoint, engine="openvino", precision="int8").encode_passages(texts)
    found = Encoder(checkpoint, engine="native").encode_passages(texts)
    # Where a value falls between two levels they may differ by one: in few numbers, by little.
    assert cosines(found, wanted).min() > 0.998
    assert np.median(np.abs(found - wanted)) < 0.01 * np.abs(wanted).mean()


@needs_kernels
@pytest.mark.parametrize(("hidden", "heads", "inner"), [(96, 3, 96), (128, 1, 512), (256, 4, 1024)])
def test_other_sizes(int8_checkpoint, hidden, heads, inner):
    checkpoint = int8_checkpoint(hidden=hidden, heads=heads, inner=inner)
    wanted = Encoder(checkpoint, engine="openvino", precision="int8").encode_queries(HELD_OUT[:20])
    found = Encoder(checkpoint, engine="native").encode_queries(HELD_OUT[:20])
    assert cosines(found, wanted).min() > 0.998


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3, 5, 9])
def test_a_vector_is_the_same_to_the_bit_in_any_batch_on_any_threads(int8_checkpoint, threads):
    checkpoint = int8_checkpoint(max_length=512)
    alone = Encoder(checkpoint, engine="native", threads=1)
    texts = TEXTS + ["头" * (n % 400) for n in range(300)]
    wanted = np.concatenate([alone.encode_passages([text]) for text in texts])
    encoder = Encoder(checkpoint, engine="native", threads=threads)
    np.testing.assert_array_equal(encoder.encode_passages(texts), wanted)
    for few in (texts[:3], texts[7:8], texts[:13]):
        found = encoder.encode_passages(few)
        np.testing.assert_array_equal(found, wanted[[texts.index(text) for text in few]])


@needs_kernels
def test_every_length_up_to_512(int8_checkpoint):
    checkpoint = int8_checkpoint(max_length=512)
    random, size = np.random.default_rng(0), checkpoint.shape.vocabulary
    lengths = (1, 2, 3, 4, 5, 8, 9, 12, 13, 15, 16, 17, 31, 33, 511, 512)
    tokens = [random.integers(5, size, length).astype(np.int32) for length in lengths]
    found = {}
    for engine in ("native", "openvino"):
        encoder = Encoder(checkpoint, engine=engine, precision="int8")
        vectors = np.zeros((len(tokens), encoder.dim), np.float32)
        work = list(batches(tokens, budget=64))  # alone, and with others of its length
        encoder.run(work, lambda batch, some, into=vectors: into.__setitem__(batch.rows, some))
        found[engine] = vectors
    assert cosines(found["native"], found["openvino"]).min() > 0.998


@needs_kernels
def test_no_texts_and_many_callers(int8_checkpoint):
    encoder = Encoder(int8_checkpoint(), engine="native", threads=2)
    assert encoder.encode_queries([]).shape == (0, 64)
    lists = [["头" * (n + k) for n in range(40)] for k in range(8)]
    wanted = [encoder.encode_queries(texts) for texts in lists]
    with ThreadPoolExecutor(4) as callers:
        for found, right in zip(callers.map(encoder.encode_queries, lists), wanted, strict=True):
            np.testing.assert_array_equal(found, right)


@needs_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    code = """
import os
from corom import Encoder
encoder = Encoder.load(engine="native", threads=2)
texts = ["头" * n for n in range(100)]
few, many = encoder.encode_queries(texts[:2]), encoder.encode_passages(texts)
child = os.fork()
again = encoder.encode_queries(texts[:2]), encoder.encode_passages(texts)
assert (again[0] == few).all() and (again[1] == many).all()
if child:
    assert os.waitpid(child, 0)[1] == 0
print("done", flush=True)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["done", "done"], done.stderr


@needs_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_may_be_forked_while_a_thread_encodes() -> None:
    code = """
import os, signal, threading
from corom import Encoder
encoder = Encoder.load(engine="native", threads=2)
texts = ["头" * n for n in range(100)]
vectors, going = encoder.encode_passages(texts), True
def encode():
    while going:
        encoder.encode_passages(texts * 5)
thread = threading.Thread(target=encode)
thread.start()
for _ in range(5):
    if not (child := os.fork()):
        signal.alarm(20)
        os._exit(0 if (encoder.encode_passages(texts) == vectors).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
going = False
thread.join()
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_failing_callback_is_not_swallowed_and_ends_the_work(threads):
    encoder = Encoder.load(engine="native", threads=threads)
    seen = []

    def fail(progress):
        seen.append(progress)
        raise RuntimeError("stop here")

    for count in (1, 1500):
        seen.clear()
        with pytest.raises(RuntimeError, match="stop here"):
            encoder.encode_queries(["头" * (n % 120) for n in range(count)], progress=fail)
        assert 1 <= len(seen) <= threads
    assert encoder.encode_queries(["头"]).shape == (1, encoder.dim)


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_a_batch_is_asked_for_when_it_can_be_computed(threads, count):
    encoder = Encoder.load(engine="native", threads=threads)
    ahead, done = [], []

    def stream():
        for batch in batches([np.full(64, 5, np.int32)] * count, budget=64):
            ahead.append(len(ahead) - len(done))
            yield batch

    encoder.run(stream(), lambda batch, _: done.extend(batch.rows))
    assert sorted(done) == list(range(count))
    # Three threads look at six batches first: are there enough to share out?
    assert max(ahead, default=0) < (1 if threads < 3 else 6)


@needs_kernels
def test_auto_takes_the_kernels_for_int8_only(int8_checkpoint, monkeypatch):
    monkeypatch.setattr(native_engine, "has_flag", lambda _: False)
    checkpoint = int8_checkpoint()
    assert Encoder(checkpoint, precision="int8").engine == "native"
    assert Encoder(checkpoint, precision="fp32").engine == "openvino"
    assert Encoder.load().engine == "native"
    # Eight times VNNI's speed: OpenVINO has kernels for it.
    monkeypatch.setattr(native_engine, "has_flag", lambda name: name == "amx_int8")
    assert Encoder(checkpoint, precision="int8").engine == "openvino"


@needs_kernels
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "bf16"),
        ({"precision": "fp32"}, "fp32"),
        ({"device": "cuda"}, "cuda"),
    ],
)
def test_what_the_kernels_do_not_do_is_refused(int8_checkpoint, options, message):
    with pytest.raises(InputError, match=message):
        Encoder(int8_checkpoint(), engine="native", **options)


@needs_kernels
def test_a_model_that_does_not_fit_goes_to_openvino(tiny_checkpoint):
    checkpoint = tiny_checkpoint()  # heads of 8
    made = compress(checkpoint, calibration=CALIBRATION[:20], held_out=HELD_OUT[:20])
    save_int8(checkpoint.folder / INT8, made)
    assert Encoder(checkpoint, precision="int8").engine == "openvino"
    with pytest.raises(InputError, match="multiples of 32"):
        Encoder(checkpoint, engine="native")


def test_without_kernels_openvino_computes_and_asking_for_them_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(native_engine, "LIBRARY", tmp_path / "encoder.so")
    monkeypatch.setattr("corom.engines.processor.has_vnni", lambda: True)
    encoder = Encoder.load()
    assert (encoder.engine, encoder.precision) == ("openvino", "int8")
    with pytest.raises(InputError, match="C compiler"):
        Encoder.load(engine="native")


def test_kernels_that_cannot_be_loaded_are_refused(monkeypatch, tmp_path):
    native_engine._library.cache_clear()
    monkeypatch.setattr(native_engine, "LIBRARY", tmp_path / "encoder.so")
    (tmp_path / "encoder.so").write_bytes(b"of another machine")
    with pytest.raises(InputError, match=r"encoder\.so cannot be loaded here: install corom again"):
        Encoder.load()
    native_engine._library.cache_clear()


@needs_kernels
def test_kernels_of_another_version_are_refused(monkeypatch):
    native_engine._library.cache_clear()
    monkeypatch.setattr(native_engine, "INTERFACE", -1)
    with pytest.raises(InputError, match="install corom again"):
        Encoder.load(engine="native")
    native_engine._library.cache_clear()


@pytest.mark.parametrize(
    ("changed", "whole"),
    [
        ({}, True),
        ({"heads": 4}, False),
        ({"intermediate": 100}, False),
        ({"intermediate": 32}, False),
        ({"activation": "relu"}, False),
        ({"activation": "gelu_tanh"}, False),
    ],
)
def test_which_models_fit(tiny_shape, changed, whole):
    sizes = {"hidden": 64, "heads": 2, "intermediate": 128}
    assert fits(Shape(**{**vars(tiny_shape), **sizes, **changed})) is whole


def test_panels_hold_every_weight_in_its_place():
    weight = np.arange(64 * 8, dtype=np.int64).astype(np.int8).reshape(64, 8)
    panels = in_panels(weight).reshape(2, 2, 32, 4)
    halves = halves_in_panels(weight.astype(np.float32))
    for out, into in ((0, 0), (31, 7), (32, 3), (63, 4)):
        assert panels[out // 32, into // 4, out % 32, into % 4] == weight[out, into]
        assert halves.view(np.float16)[out // 32, into, out % 32] == weight[out, into]
    assert in_panels(weight).ctypes.data % 64 == halves.ctypes.data % 64 == 0


def test_what_lies_right_is_not_copied():
    array = aligned(np.arange(100, dtype=np.float32)[1:])
    assert aligned(array) is array
    np.testing.assert_array_equal(array, np.arange(1, 100))


@needs_kernels
@pytest.mark.parametrize("rows", [1, 4, 5, 12, 13, 21, 100])
@pytest.mark.parametrize(("width", "outputs"), [(32, 32), (768, 96), (3072, 64)])
def test_a_product_is_exact(rows, width, outputs):
    random = np.random.default_rng(rows)
    weight = random.integers(-127, 128, (outputs, width)).astype(np.int8)
    weight[0], weight[1] = 127, -127  # with all levels 255: the largest sums there are
    levels = random.integers(0, 256, (rows + SPARE_ROWS, width)).astype(np.uint8)
    levels[0] = 255
    scale, bias = np.ones(outputs, np.float32), np.full(outputs, 0.5, np.float32)
    out = np.zeros((rows + SPARE_ROWS, outputs), np.float32)
    kept = [in_panels(weight), scale, bias]
    linear = _Linear(*(array.ctypes.data for array in kept))
    native_engine._library().corom_multiply(
        byref(linear),
        c_void_p(levels.ctypes.data),
        *map(c_size_t, (rows, width, outputs)),
        c_void_p(out.ctypes.data),
    )
    sums = levels[:rows].astype(np.int64) @ weight.T.astype(np.int64)
    np.testing.assert_array_equal(out[:rows], sums.astype(np.float32) + bias)
