from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from corom.engines.torch_bert import (  # noqa: E402
    TorchBert,
    _attention_of_firsts,
    _fused,
    _with_dropout,
)
from corom.errors import ArtifactError, InputError  # noqa: E402
from corom.models.config import Shape  # noqa: E402

pytestmark = pytest.mark.torch


SHAPE = Shape(vocabulary=50, hidden=16, layers=3, heads=2, intermediate=32, positions=20)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def model():
    torch.manual_seed(3)
    model = TorchBert(SHAPE).double().eval()
    for parameter in model.parameters():  # no zero bias, no unit norm: every weight must matter
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return model


def batch(*lengths, width=None, seed=0):
    rng = np.random.default_rng(seed)
    ids = torch.zeros(len(lengths), width or max(lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.from_numpy(rng.integers(1, 50, length))
    return ids, torch.tensor(lengths)


def plain_states(model, ids, lengths, heads=2):
    """BERT as the paper has it, one text at a time, from the Hugging Face names."""
    w = {name: torch.from_numpy(a).double() for name, a in model.export_weights().items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, correction=0) + 1e-12).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    texts = []
    for row, length in zip(ids, lengths.tolist(), strict=True):
        embeddings = [
            w[f"embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type")
        ]
        x = embeddings[0][row[:length]] + embeddings[1][:length] + embeddings[2][0]
        states = [norm(x, "embeddings.LayerNorm")]
        for number in range(3):
            x, at = states[-1], f"encoder.layer.{number}"
            q, k, v = (
                linear(x, f"{at}.attention.self.{n}").view(length, heads, -1).transpose(0, 1)
                for n in ("query", "key", "value")
            )
            mixed = torch.softmax(q @ k.transpose(1, 2) / q.shape[2] ** 0.5, 2) @ v
            mixed = linear(
                mixed.transpose(0, 1).reshape(length, -1), f"{at}.attention.output.dense"
            )
            x = norm(x + mixed, f"{at}.attention.output.LayerNorm")
            inner = linear(x, f"{at}.intermediate.dense")
            inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
            states.append(norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm"))
        texts.append(states)
    return texts


def plain_vectors(texts, pooling):
    pooled = {
        "cls": lambda s: s[-1][0],
        "avg": lambda s: s[-1].mean(0),
        "avg_first_last": lambda s: ((s[1] + s[-1]) / 2).mean(0),
        "avg_top2": lambda s: ((s[-2] + s[-1]) / 2).mean(0),
    }[pooling]
    return torch.stack([pooled(states) for states in texts])


LENGTHS = (3, 17, 2, 9, 9, 16, 1, 5)


@pytest.mark.parametrize("pooling", ["cls", "avg", "avg_first_last", "avg_top2"])
@pytest.mark.parametrize("lengths", [LENGTHS, (4,), (6, 6, 6)])
def test_vectors_equal_a_plain_bert(model, pooling, lengths):
    ids, counts = batch(*lengths)
    vectors = model.encode(ids, counts, pooling=pooling, normalize=False)
    assert vectors.dtype == torch.float32
    expected = plain_vectors(plain_states(model, ids, counts), pooling)
    torch.testing.assert_close(vectors.double(), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("part", "layer"), [("last two layers", 1), ("last layer", 2)])
def test_what_a_part_is_given_is_in_place_and_zero_on_padding(model, part, layer):
    ids, counts = batch(*LENGTHS, width=19)
    hidden = model.before(part, ids, counts)
    assert hidden.shape == (8, 19, 16)
    for row, states in enumerate(plain_states(model, ids, counts)):
        given = hidden[row, : counts[row]].double()
        torch.testing.assert_close(given, states[layer], atol=2e-6, rtol=1e-5)
        assert not hidden[row, counts[row] :].any()


def test_gradients_equal_those_of_each_text_alone(model):
    ids, counts = batch(*LENGTHS)
    weight = torch.randn(8, 16)

    def gradients(loss):
        model.zero_grad()
        loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    together = gradients((model.encode(ids, counts, pooling="cls", normalize=True) * weight).sum())
    alone = []
    for row, length in enumerate(counts.tolist()):
        text, count = ids[row : row + 1, :length], counts[row : row + 1]
        alone.append(model.hidden_states(text, model.pack(text, count))[-1][:1].float())
    alone = torch.nn.functional.normalize(torch.cat(alone), dim=1)
    for ours, theirs in zip(together, gradients((alone * weight).sum()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_normalized_vectors_have_unit_length(model):
    vectors = model.encode(*batch(*LENGTHS), pooling="avg", normalize=True)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(8))


def test_no_text_gives_no_vector(model):
    ids, counts = torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    vectors = model.encode(ids, counts, pooling="cls", normalize=True)
    assert vectors.shape == (0, 16)
    assert vectors.dtype == torch.float32


def test_weights_survive_a_round_trip(model):
    weights = model.float().export_weights()
    other = TorchBert(SHAPE)
    other.load_weights(weights)
    for name, array in other.export_weights().items():
        np.testing.assert_array_equal(array, weights[name])
    other.words.weight.data.zero_()
    assert weights["embeddings.word_embeddings.weight"].any(), "an export must be a copy"


def test_names_are_those_of_hugging_face(model):
    names = set(model.export_weights())
    assert len(names) == 5 + 3 * 16
    assert {
        "embeddings.LayerNorm.bias",
        "encoder.layer.2.attention.self.value.bias",
        "encoder.layer.0.attention.output.LayerNorm.weight",
        "encoder.layer.1.output.dense.weight",
    } <= names


def test_a_missing_or_misshapen_weight_is_named(model):
    weights = model.export_weights()
    lacking = {name: a for name, a in weights.items() if name != "embeddings.LayerNorm.bias"}
    with pytest.raises(ArtifactError, match=r"lack embeddings\.LayerNorm\.bias"):
        model.load_weights(lacking)
    name = "encoder.layer.1.attention.self.key.weight"
    with pytest.raises(ArtifactError, match=r"layer\.1\.attention\.self\.key\.weight has shape"):
        model.load_weights({**weights, name: weights[name][:3]})


def test_wrong_inputs_are_refused(model):
    with pytest.raises(InputError, match="at most 20"):
        model.pack(*batch(21))
    with pytest.raises(InputError, match="for 3 lengths"):
        model.pack(batch(4, 4)[0], torch.tensor([4, 4, 4]))
    with pytest.raises(InputError, match="pooling 'max'"):
        model.encode(*batch(4), pooling="max", normalize=True)


def test_every_activation_is_its_own():
    ids, counts = batch(*LENGTHS)
    weights = TorchBert(SHAPE).export_weights()
    vectors = []
    for activation in ("gelu", "gelu_tanh", "relu"):
        model = TorchBert(replace(SHAPE, activation=activation)).eval()
        model.load_weights(weights)
        for layer in model.layers:  # large enough for the two gelus to differ
            layer.inner.weight.data.mul_(50)
        vectors.append(model.encode(ids, counts, pooling="cls", normalize=True))
    assert not torch.equal(vectors[0], vectors[1])
    torch.testing.assert_close(vectors[0], vectors[1], atol=5e-3, rtol=0)
    assert (vectors[0] - vectors[2]).abs().max() > 5e-3


def test_dropout_works_in_training_only():
    model = TorchBert(SHAPE, dropout=0.5)
    ids, counts = batch(*LENGTHS)

    def twice():
        return [model.encode(ids, counts, pooling="cls", normalize=True) for _ in range(2)]

    one, other = twice()
    assert not torch.equal(one, other)
    model.eval()
    one, other = twice()
    assert torch.equal(one, other)


def test_bf16_autocast_stays_close():
    torch.manual_seed(1)
    model = TorchBert(replace(SHAPE, hidden=32, layers=2)).eval()
    ids, counts = batch(*LENGTHS)
    exact = model.encode(ids, counts, pooling="cls", normalize=True)
    with torch.autocast("cpu", torch.bfloat16):
        fast = model.encode(ids, counts, pooling="cls", normalize=True)
    assert fast.dtype == torch.float32
    assert (exact * fast).sum(1).min() > 0.999


def attention_inputs():
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, 7, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    there = torch.arange(7) < torch.tensor([7, 5, 1])[:, None]
    return q, k, v, there[:, None, None, :]


def test_attention_with_dropout_is_attention_when_nothing_falls_out():
    *inputs, mask = attention_inputs()
    results = []
    for attend in (_fused, _with_dropout):
        out = attend(*inputs, mask=mask, dropout=0.0)
        results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_attention_is_never_cudnns_and_leaves_the_setting_alone(monkeypatch):
    allowed = []

    def recorded(q, k, v, **_options):
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return q

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    q, k, v, mask = attention_inputs()
    _fused(q, k, v, mask=mask, dropout=0.0)
    assert allowed == [False]
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_attention_with_dropout_keeps_its_mean_and_never_sees_padding():
    q, k, v, mask = attention_inputs()
    with torch.no_grad():
        expected = _fused(q, k, v, mask=mask, dropout=0.0)
        drawn = [_with_dropout(q, k, v, mask=mask, dropout=0.3) for _ in range(3000)]
        assert not torch.equal(drawn[0], drawn[1])
        torch.testing.assert_close(sum(drawn) / 3000, expected, atol=0.08, rtol=0)
        hidden = v.masked_fill(~mask.transpose(-1, -2), 1e6)
        torch.manual_seed(1)
        one = _with_dropout(q, k, v, mask=mask, dropout=0.3)
        torch.manual_seed(1)
        torch.testing.assert_close(_with_dropout(q, k, hidden, mask=mask, dropout=0.3), one)


def test_attention_of_firsts_keeps_its_mean_and_never_sees_padding(model):
    ids, lengths = batch(7, 6, 1)
    packing = model.pack(ids, lengths)

    def attend(rows, dropout):
        layer = model.layers[0]
        return _attention_of_firsts(layer.qkv, rows, packing, heads=2, dropout=dropout)

    with torch.no_grad():
        rows = model.embed(ids, packing)
        expected = attend(rows, 0.0)
        drawn = [attend(rows, 0.3) for _ in range(2000)]
        assert not torch.equal(drawn[0], drawn[1])
        torch.testing.assert_close(sum(drawn) / 2000, expected, atol=0.08, rtol=0)
        # Half as exact, kept states are looked at as they are.
        torch.testing.assert_close(attend(rows.half(), 0.0), expected, atol=1e-2, rtol=0)
