from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from corom.engines.torch_bert import TorchBert  # noqa: E402
from corom.models.config import Shape  # noqa: E402
from corom.training.condenser import Condenser  # noqa: E402

pytestmark = pytest.mark.torch
SHAPE = Shape(vocabulary=30, hidden=16, layers=4, heads=2, intermediate=32, positions=20)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Condenser(TorchBert(SHAPE), head_layers=2, early_layer=2).double()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return model


IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, 0, 0]])
LENGTHS = torch.tensor([5, 3])
LABELS = torch.tensor([[-100, 4, -100, 6, -100], [-100, 5, -100, -100, -100]])


def test_vectors_are_those_of_the_encoder(model):
    vectors, loss = model(IDS, LENGTHS)
    assert loss is None
    expected = model.bert.encode(IDS, LENGTHS, pooling="cls", normalize=False)
    torch.testing.assert_close(vectors, expected)


def test_the_loss_is_late_and_head_prediction(model):
    _, loss = model(IDS, LENGTHS, LABELS)
    packing = model.bert.pack(IDS, LENGTHS)
    states = model.bert.hidden_states(IDS, packing)
    late, rows = states[-1], states[2].clone()
    rows[[0, 5]] = late[[0, 5]]  # [CLS] of the longer and of the shorter text
    for layer in model.head.layers:
        rows = layer(rows, packing)
    labels = torch.tensor([-100, 4, -100, 6, -100, -100, 5, -100])
    expected = 0.0
    for state in (late, rows):
        hidden = torch.nn.functional.gelu(model.head.transform(state))
        logits = model.head.norm(hidden) @ model.bert.words.weight.T + model.head.bias
        expected = expected + torch.nn.functional.cross_entropy(
            logits.float(), labels, reduction="sum"
        )
    torch.testing.assert_close(loss, expected)


def test_the_head_hears_of_late_layers_through_cls_alone(model):
    """Without late MLM, the last layer gets its gradient through the [CLS] row only."""
    packing = model.bert.pack(IDS, LENGTHS)
    states = model.bert.hidden_states(IDS, packing)
    states[-1].retain_grad()
    firsts = states[-1].index_select(0, packing.firsts)
    rows = model._head_rows(states[2].index_copy(0, packing.firsts, firsts), packing)
    rows.sum().backward()
    touched = states[-1].grad.abs().sum(1) > 0
    assert touched.nonzero().flatten().tolist() == [0, 5]


def test_nothing_hidden_costs_nothing(model):
    _, loss = model(IDS, LENGTHS, torch.full_like(LABELS, -100))
    loss.backward()
    assert loss.item() == 0


def test_without_head_layers_it_is_plain_mlm():
    torch.manual_seed(0)
    model = Condenser(TorchBert(SHAPE), head_layers=0, early_layer=2)
    _, loss = model(IDS, LENGTHS, LABELS)
    loss.backward()
    assert loss.item() > 0
