from __future__ import annotations

from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")

from corom.training.gradient_cache import backward  # noqa: E402

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


def make_model(dropout):
    torch.manual_seed(0)
    layers = torch.nn.Linear(6, 16), torch.nn.Dropout(dropout), torch.nn.Tanh()
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, 8)).double()


def objective(vectors):
    half = len(vectors) // 2
    scores = vectors[:half] @ vectors[half:].T
    return torch.nn.functional.cross_entropy(scores, torch.arange(half))


def gradients(model):
    found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    return found


def encode_with(model, *, own=False):
    def encode(chunk, *, vectors_only=False):
        vectors = model(chunk)
        # An own loss that draws random numbers, as a head with dropout does.
        noise = torch.nn.functional.dropout(vectors, 0.5) if own and not vectors_only else None
        return vectors, None if noise is None else noise.square().mean()

    return encode


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_cached_equals_plain(dropout):
    model, data = make_model(dropout), torch.randn(12, 6, dtype=torch.float64)
    chunks = data.split(5)
    torch.manual_seed(1)
    plain = objective(torch.cat([model(chunk) for chunk in chunks]))
    plain.backward()
    expected = gradients(model)
    torch.manual_seed(1)
    cached = backward(chunks, encode_with(model), objective, device=CPU)
    assert cached.item() == pytest.approx(plain.item(), abs=1e-12)
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


def test_one_chunk_equals_plain_and_scale_scales_gradients_only():
    model, data = make_model(0.0), torch.randn(8, 6, dtype=torch.float64)
    one = backward([data], encode_with(model), objective, device=CPU)
    single = gradients(model)
    for chunks in ([data], data.split(3)):
        half = backward(chunks, encode_with(model), objective, device=CPU, scale=0.5)
        assert half.item() == pytest.approx(one.item())
        for ours, theirs in zip(gradients(model), single, strict=True):
            torch.testing.assert_close(ours, theirs / 2)


def test_the_chunks_own_losses_join_in():
    model, data = make_model(0.3), torch.randn(8, 6, dtype=torch.float64)
    chunks, encode = data.split(3), encode_with(model, own=True)
    torch.manual_seed(2)
    states, vectors = [], []
    for chunk in chunks:  # what the cache's first pass draws
        states.append(torch.get_rng_state())
        vectors.append(model(chunk))
    total = objective(torch.cat(vectors))
    for chunk, state in zip(chunks, states, strict=True):
        torch.set_rng_state(state)
        total = total + encode(chunk)[1]
    total.backward()
    expected = gradients(model)
    torch.manual_seed(2)
    loss = backward(chunks, encode, objective, device=CPU)
    assert loss.item() == pytest.approx(total.item(), abs=1e-12)
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


def test_every_backward_pass_but_the_last_is_unsynced():
    entered = []

    @contextmanager
    def unsynced():
        entered.append(True)
        yield

    model, data = make_model(0.0), torch.randn(8, 6, dtype=torch.float64)
    backward(data.split(2), encode_with(model), objective, device=CPU, unsynced=unsynced)
    assert len(entered) == 3
