"""Both engines against plain numpy."""

import subprocess
import sys
import time
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from corom.encoder import Encoder
from corom.engines.native_engine import problem
from corom.engines.processor import available_threads
from corom.errors import InputError
from corom.models.config import Shape
from corom.tokens import batches
from corom.vectors import cosines
from models.numpy_bert import embed

MASTER = Path(__file__).parents[2] / "models" / "corom-medical"
TEXTS = ["头痛发热吃什么药", "", "ct mri abc 123", "高血压" * 200, "糖尿病患者饮食，注意休息。"]


@pytest.fixture(params=["openvino", "torch"])
def engine(request):
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param


@pytest.mark.parametrize("pooling", ["cls", "avg", "avg_top2", "avg_first_last"])
def test_every_pooling_is_what_numpy_says(tiny_checkpoint, engine, pooling):
    checkpoint = tiny_checkpoint(pooling=pooling)
    found = Encoder(checkpoint, engine=engine, precision="fp32").encode_queries(TEXTS)
    np.testing.assert_allclose(found, embed(checkpoint, TEXTS), atol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_activation_and_depth(tiny_checkpoint, tiny_shape, engine, activation, layers):
    shape = Shape(**{**vars(tiny_shape), "activation": activation, "layers": layers})
    checkpoint = tiny_checkpoint(shape=shape)
    found = Encoder(checkpoint, engine=engine, precision="fp32").encode_passages(TEXTS)
    np.testing.assert_allclose(found, embed(checkpoint, TEXTS), atol=1e-4)


@pytest.mark.filterwarnings("ignore:this chip does not multiply bf16")
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_lower_precision_stays_close(tiny_checkpoint, engine, precision):
    checkpoint = tiny_checkpoint()
    found = Encoder(checkpoint, engine=engine, precision=precision).encode_queries(TEXTS)
    assert found.dtype == np.float32
    assert cosines(found, embed(checkpoint, TEXTS)).min() > 0.995


def test_the_full_512_tokens_run(tiny_checkpoint, engine):
    checkpoint = tiny_checkpoint(max_length=512)
    text = ["头痛" * 400]
    found = Encoder(checkpoint, engine=engine, precision="fp32").encode_queries(text)
    np.testing.assert_allclose(found, embed(checkpoint, text), atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_batches_and_many_on_few_threads_and_many(tiny_checkpoint, threads):
    checkpoint = tiny_checkpoint()
    texts = ["头" * (n % 120) for n in range(1500)]
    encoder = Encoder(checkpoint, engine="openvino", precision="fp32", threads=threads)
    planned = batches([item.ids for item in encoder.cut(texts)], budget=encoder.batch_tokens)
    assert len(list(planned)) >= 64  # a long work
    np.testing.assert_allclose(
        encoder.encode_queries(texts[7:9]), embed(checkpoint, texts[7:9]), atol=1e-4
    )
    np.testing.assert_allclose(
        encoder.encode_queries(texts)[:120], embed(checkpoint, texts[:120]), atol=1e-4
    )


@pytest.mark.parametrize(("threads", "kept"), [(2, 1), (3, 2)])
def test_a_small_machine_keeps_one_form_of_the_graph(tiny_checkpoint, threads, kept):
    checkpoint = tiny_checkpoint()
    encoder = Encoder(checkpoint, engine="openvino", precision="fp32", threads=threads)
    engine = encoder._engine

    def forms_after(count):
        texts = ["头" * (n % 120) for n in range(count)]
        np.testing.assert_allclose(
            encoder.encode_queries(texts)[:50], embed(checkpoint, texts[:50]), atol=1e-4
        )
        return {"_request", "_queue"} & vars(engine).keys()

    assert forms_after(1) == {"_request"}
    assert "_queue" in forms_after(1500)
    assert "_queue" in forms_after(150)  # several batches take the form that is there
    assert "_request" in (found := forms_after(1))
    assert len(found) == kept


@pytest.mark.parametrize("device", ["mps", "cuda:97", "cpu,cuda:97"])
def test_a_device_that_is_not_there_is_refused(tiny_checkpoint, device):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=device.split(",")[-1]):
        Encoder(tiny_checkpoint(), engine="torch", device=device)


def test_two_devices_share_the_batches(tiny_checkpoint):
    pytest.importorskip("torch")
    checkpoint = tiny_checkpoint()
    texts = ["头" * (n % 100) for n in range(200)]
    both = Encoder(checkpoint, engine="torch", precision="fp32", device="cpu,cpu")
    np.testing.assert_allclose(
        both.encode_queries(texts)[:100], embed(checkpoint, texts[:100]), atol=1e-4
    )


def test_of_two_devices_one_at_a_time_hands_over_and_a_failure_ends_the_work(tiny_checkpoint):
    pytest.importorskip("torch")
    encoder = Encoder(tiny_checkpoint(), engine="torch", precision="fp32", device="cpu,cpu")
    work = list(batches([np.full(8, 5, np.int32)] * 100, budget=8))
    busy, seen = Lock(), []

    def receive(batch, _vectors):
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        seen.extend(batch.rows)
        busy.release()

    encoder.run(work, receive)
    assert sorted(seen) == list(range(100))

    def fail(batch, _vectors):
        seen.extend(batch.rows)
        raise RuntimeError("stop here")

    seen.clear()
    with pytest.raises(RuntimeError, match="stop here"):
        encoder.run(work, fail)
    assert len(seen) <= 2


@pytest.mark.parametrize("threads", [2, 3])
def test_a_batch_is_asked_for_when_it_can_be_computed(tiny_checkpoint, threads):
    encoder = Encoder(tiny_checkpoint(), engine="openvino", precision="fp32", threads=threads)
    asked, done, ahead = 0, 0, []

    def endless():
        nonlocal asked
        for batch in batches([np.full(64, 5, np.int32)] * 40, budget=64):
            ahead.append(asked - done)
            asked += 1
            yield batch

    def receive(_batch, _vectors):
        nonlocal done
        done += 1

    encoder.run(endless(), receive)
    assert done == 40
    # Three threads look at six batches first: are there enough to share out?
    assert max(ahead[6:]) < (1 if threads == 2 else 6)


@pytest.mark.parametrize("threads", [2, 3])
def test_a_failing_callback_is_not_swallowed(tiny_checkpoint, threads):
    encoder = Encoder(tiny_checkpoint(), engine="openvino", precision="fp32", threads=threads)

    def fail(_):
        raise RuntimeError("stop here")

    for count in (1, 1500):
        with pytest.raises(RuntimeError, match="stop here"):
            encoder.encode_queries(["头" * (n % 120) for n in range(count)], progress=fail)
    assert encoder.encode_queries(["头"]).shape == (1, encoder.dim)


@pytest.mark.parametrize("engine", ["openvino", "native"])
@pytest.mark.parametrize("threads", [2, 3])
def test_after_a_failure_the_next_call_is_as_ever(engine: str, threads: int) -> None:
    """In a process of its own: what OpenVINO keeps of a failed callback would end it."""
    if engine == "native" and problem() is not None:
        pytest.skip("the kernels do not run here")
    precision = "fp32" if engine == "openvino" else "int8"
    folder = str(MASTER) if engine == "openvino" else "corom-medical"
    code = f"""
from corom import Encoder
from corom.tokens import batches
encoder = Encoder.load({folder!r}, engine={engine!r}, precision={precision!r}, threads={threads})
texts = ["头" * (n % 20) for n in range(2000)]
calls = 0
def progress(_):
    global calls
    calls += 1
    if calls >= 5:
        raise ValueError("cancelled")
def broken():
    ids = [item.ids for item in encoder.cut(texts, side="passage")]
    yield from list(batches(ids, budget=64))[:30]
    raise ValueError("broken")
for fail in (
    lambda: encoder.encode_passages(texts, progress=progress),
    lambda: encoder.run(broken(), lambda batch, vectors: None),
):
    for _ in range(2):
        try:
            fail()
        except ValueError:
            assert encoder.encode_passages(texts).shape == (2000, 512)
        else:
            raise SystemExit("it did not fail")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(available_threads() < 2, reason="there is no other core to be on")
def test_a_process_of_one_thread_is_not_bound_to_the_first_core() -> None:
    for threads, pinned in (1, False), (available_threads(), True):
        engine = Encoder.load("corom-medical", engine="openvino", threads=threads)._engine
        compiled = engine._compile(streams=1)
        assert compiled.get_property("ENABLE_CPU_PINNING") is pinned
