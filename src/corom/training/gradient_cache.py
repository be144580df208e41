"""Gradients of a big batch in the memory of a small one (GradCache, Gao et al., 2101.06983).

A loss over a batch sees the model only through the vectors. So: vectors of all chunks without a
graph, the loss's gradient with respect to the vectors, then chunk by chunk once more with a graph
that ends in those gradients. The random state is replayed, so dropout falls the same way twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Chunk_contra = TypeVar("Chunk_contra", contravariant=True)


class Encode(Protocol[Chunk_contra]):
    """Turns a chunk into vectors and, unless `vectors_only`, a loss of the chunk's own (or None).

    The own loss must draw random numbers only after the vectors are made.
    """

    def __call__(
        self, chunk: Chunk_contra, *, vectors_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return (texts, dim) vectors and the chunk's own loss."""
        ...


class _RandomState:
    """The state of torch's generators for the CPU and for one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)


def backward(
    chunks: Sequence[Chunk_contra],
    encode: Encode[Chunk_contra],
    objective: Callable[[Tensor], Tensor],
    *,
    device: torch.device,
    scale: float = 1.0,
    unsynced: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """Add the gradients of `scale` times the batch's loss; return the loss, detached.

    The loss is `objective(vectors of all chunks)` plus the sum of the chunks' own losses. One
    chunk costs one pass; several cost one more pass without a graph. `unsynced` surrounds every
    backward pass but the last: where processes share their gradients, once is enough.
    """
    if len(chunks) == 1:
        vectors, own = encode(chunks[0])
        loss = objective(vectors) if own is None else objective(vectors) + own
        (loss * scale).backward()
        return loss.detach()
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_RandomState(device))
            parts.append(encode(chunk, vectors_only=True)[0])
    vectors = torch.cat(parts).requires_grad_()
    loss = objective(vectors)
    (loss * scale).backward()
    total, gradients = loss.detach(), vectors.grad.split([len(part) for part in parts])
    for number, (chunk, gradient) in enumerate(zip(chunks, gradients, strict=True), start=1):
        states[number - 1].restore()
        with nullcontext() if number == len(chunks) else unsynced():
            part, own = encode(chunk)
            surrogate = (part * gradient).sum()
            if own is not None:
                surrogate, total = surrogate + own * scale, total + own.detach()
            surrogate.backward()
    return total
