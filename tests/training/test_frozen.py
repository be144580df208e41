from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from corom import Reranker  # noqa: E402
from corom.encoder import Encoder  # noqa: E402
from corom.errors import InputError  # noqa: E402
from corom.training.batches import Texts, TokenFeed, make_batch, make_cutters  # noqa: E402
from corom.training.examples import Drawn  # noqa: E402
from corom.training.frozen import CpuModel, DeviceModel, Frozen, PairScores  # noqa: E402
from corom.training.tower import open_checkpoint  # noqa: E402

pytestmark = pytest.mark.torch

TEXTS = Texts(("头痛吃什么药", "糖尿病"), ("可以吃药，多休息。", "手术治疗", "检查"))


@pytest.mark.parametrize("pooling", ["cls", "avg_first_last"])
@pytest.mark.parametrize("at_once", [0, 2])
def test_a_frozen_model_gives_the_encoders_vectors(tiny_checkpoint, pooling, at_once):
    checkpoint = tiny_checkpoint(pooling=pooling, query_prefix="吃", normalize=True)
    cutters = make_cutters(checkpoint, query_length=128, passage_length=128)
    frozen = Frozen(checkpoint, cutters, device=torch.device("cpu"), bf16=False)
    found = frozen.vectors(TEXTS, at_once=at_once)
    assert not found.requires_grad
    encoder = Encoder(checkpoint, precision="fp32")
    expected = np.concatenate(
        [encoder.encode_queries(TEXTS.queries), encoder.encode_passages(TEXTS.passages)]
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_a_frozen_model_computes_a_text_once(tiny_checkpoint, monkeypatch):
    checkpoint = tiny_checkpoint(query_prefix="吃", normalize=True)
    cutters = make_cutters(checkpoint, query_length=128, passage_length=128)
    frozen = Frozen(checkpoint, cutters, device=torch.device("cpu"), bf16=False)
    computed = []
    real = frozen.model.vectors
    monkeypatch.setattr(
        frozen.model, "vectors", lambda ids, **o: computed.append(len(ids)) or real(ids, **o)
    )
    first = frozen.vectors(TEXTS, at_once=0)
    # A passage is another text than a query of the same words: it has no prefix.
    more = Texts(
        ("糖尿病", "检查", "头痛吃什么药", "检查"), ("检查", "可以吃药，多休息。", "糖尿病")
    )
    found = frozen.vectors(more, at_once=0)
    assert computed == [5, 2]
    assert torch.equal(found[[0, 2, 4, 5]], first[[1, 0, 4, 2]])
    assert torch.equal(found[1], found[3])
    assert not torch.allclose(found[1], found[4], atol=1e-3)
    fresh = Frozen(checkpoint, cutters, device=torch.device("cpu"), bf16=False)
    torch.testing.assert_close(found, fresh.vectors(more, at_once=0), atol=1e-5, rtol=0)
    assert fresh.vectors(Texts((), ()), at_once=0).shape == (0, checkpoint.shape.hidden)


@pytest.mark.parametrize("at_once", [0, 2])
def test_a_device_gives_what_corom_s_engine_gives(tiny_checkpoint, at_once):
    checkpoint = tiny_checkpoint()
    cutters = make_cutters(checkpoint, query_length=128, passage_length=128)
    tokens = TEXTS.cut(cutters)
    device = DeviceModel(checkpoint, device=torch.device("cpu"), bf16=False)
    found = CpuModel(checkpoint, bf16=False).vectors(tokens, at_once=at_once)
    assert found.shape == (5, checkpoint.shape.hidden)
    torch.testing.assert_close(found, device.vectors(tokens, at_once=at_once), atol=1e-5, rtol=0)


def test_a_dense_is_part_of_a_frozen_model(tiny_dense):
    checkpoint = tiny_dense()
    cutters = make_cutters(checkpoint, query_length=128, passage_length=128)
    frozen = Frozen(checkpoint, cutters, device=torch.device("cpu"), bf16=False)
    found = frozen.vectors(TEXTS, at_once=0)
    assert found.shape == (5, 48)
    device = DeviceModel(checkpoint, device=torch.device("cpu"), bf16=False)
    found = CpuModel(checkpoint, bf16=False).vectors(TEXTS.cut(cutters), at_once=0)
    same = device.vectors(TEXTS.cut(cutters), at_once=0)
    torch.testing.assert_close(found, same, atol=1e-5, rtol=0)


def test_a_chip_without_bf16_computes_in_fp32(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr("corom.training.frozen.has_bf16", lambda: False)
    checkpoint = tiny_checkpoint()
    tokens = TEXTS.cut(make_cutters(checkpoint, query_length=128, passage_length=128))
    asked, plain = CpuModel(checkpoint, bf16=True), CpuModel(checkpoint, bf16=False)
    assert torch.equal(asked.vectors(tokens, at_once=0), plain.vectors(tokens, at_once=0))


def test_a_model_that_is_none_is_refused():
    with pytest.raises(InputError, match="names no model"):
        open_checkpoint("no model")


DRAWN = [
    Drawn("头痛", "吃药", ("手术", "饮食")),
    Drawn("发热", "休息", ()),
    Drawn("头痛", "检查", ("吃药",)),
]


def test_every_passage_has_its_score_and_a_pair_is_read_once(tiny_reranker, tiny_checkpoint):
    reranker = Reranker.load(tiny_reranker, precision="fp32")
    cutters = make_cutters(tiny_checkpoint(), query_length=16, passage_length=16)
    known = [(example.positive,) for example in DRAWN]
    batch = make_batch(DRAWN, known, negatives=2, feed=TokenFeed(cutters, 0))
    read = []
    score = reranker.score
    reranker.score = lambda left, right: (
        read.append(list(zip(left, right, strict=True))) or score(left, right)
    )
    scores = PairScores(reranker)
    found = scores.of(batch)
    expected = torch.zeros(3, 3)
    for row, example in enumerate(DRAWN):
        for slot, passage in enumerate((example.positive, *example.negatives)):
            expected[row, slot] = float(score([example.query], [passage])[0])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert read == [
        [("头痛", "吃药"), ("头痛", "手术"), ("头痛", "饮食"), ("发热", "休息"), ("头痛", "检查")]
    ]
    assert torch.equal(scores.of(batch), found)
    assert read[1:] == [[]]
