from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from corom.encoder import Encoder  # noqa: E402
from corom.errors import InputError  # noqa: E402
from corom.training.batches import Texts, make_cutters  # noqa: E402
from corom.training.tower import Frozen, open_checkpoint  # noqa: E402

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
    real = frozen.tower.forward
    monkeypatch.setattr(
        frozen.tower, "forward", lambda ids, n: computed.append(len(n)) or real(ids, n)
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


def test_a_model_that_is_none_is_refused():
    with pytest.raises(InputError, match="names no model"):
        open_checkpoint("no model")
