from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.engines.loading import open_body  # noqa: E402
from corom.engines.torch_bert import TorchBert  # noqa: E402
from corom.errors import InputError  # noqa: E402
from corom.tokens import batches  # noqa: E402
from corom.training.batches import Chunk, States, Texts, make_cutters  # noqa: E402
from corom.training.learning import Block, CpuBody, DeviceBody, KeptStates  # noqa: E402
from corom.training.loop import start_accelerator  # noqa: E402
from corom.training.run_settings import RunSettings  # noqa: E402

pytestmark = pytest.mark.torch

TEXTS = Texts(
    ("头痛吃什么药", "糖尿病", "头痛吃什么药"), ("多休息。", "hello 手术", "检查" * 40, "\x07")
)


@pytest.fixture
def kept(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint(normalize=True)
    cutters = make_cutters(checkpoint, query_length=16, passage_length=32)
    accelerator = start_accelerator(RunSettings(device="cpu"))
    states = KeptStates(checkpoint, cutters, accelerator=accelerator, precision="fp32")
    states.fill(TEXTS, tmp_path / "states", report=None)
    return checkpoint, cutters, states


def tower(checkpoint):
    bert = TorchBert(checkpoint.shape).eval()
    bert.load_weights(checkpoint.load_weights())
    return bert


def test_block_of_kept_states_is_the_whole_encoder(kept):
    checkpoint, cutters, states = kept
    parts, order = states(TEXTS)
    assert [rows.tolist() for rows in order] == [list(range(7))]
    assert isinstance(parts[0], States)
    bert = tower(checkpoint)
    block = Block(bert).eval()
    for ids, found in zip(TEXTS.cut(cutters), block(parts[0].rows), strict=True):
        tokens, length = torch.from_numpy(ids.astype(np.int64))[None], torch.tensor([len(ids)])
        whole = bert.encode(tokens, length, pooling="cls", normalize=False)[0]
        torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-4)


def test_a_text_that_was_not_kept_is_an_error(kept):
    _, _, states = kept
    with pytest.raises(KeyError):
        states(Texts(("咳嗽",), ()))


@pytest.mark.filterwarnings("ignore:.*int8 keeps")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_cpu_engine_gives_what_torch_gives(tiny_checkpoint, precision):
    checkpoint = tiny_checkpoint()
    cutters = make_cutters(checkpoint, query_length=16, passage_length=32)
    tokens = TEXTS.cut(cutters)
    found, wanted = (np.empty((7, checkpoint.shape.hidden), np.float32) for _ in range(2))
    torch_body = DeviceBody(tower(checkpoint), device=torch.device("cpu"), bf16=False)
    for body, target in ((CpuBody(checkpoint, precision=precision), found), (torch_body, wanted)):
        body.states(
            batches(tokens, budget=64), lambda b, s, target=target: target.__setitem__(b.rows, s)
        )
    np.testing.assert_allclose(found, wanted, atol={"fp32": 1e-4, "int8": 0.2}[precision])


def test_states_of_other_texts_are_remembered(kept):
    checkpoint, cutters, states = kept
    ids = torch.from_numpy(cutters.query.cut(["发热咳嗽"])[0].ids.astype(np.int64))[None]
    chunk = Chunk(ids, torch.tensor([ids.shape[1]]))
    first = states.remembered(chunk)
    assert states.remembered(chunk) is first
    wanted = tower(checkpoint).before_last_block(*chunk)
    torch.testing.assert_close(first, wanted, atol=1e-4, rtol=1e-4)


def test_the_cpu_engine_refuses_another_pooling(tiny_checkpoint):
    checkpoint = tiny_checkpoint(pooling="avg")
    with pytest.raises(InputError, match="needs pooling cls, not avg"):
        open_body(checkpoint, precision="fp32")
