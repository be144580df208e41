"""BERT in torch without padding waste: the torch engine's and the trainer's core.

Token ids come in padded; inside, every matrix product runs on the real tokens only ("packed",
longest text first), and attention runs in blocks of texts of similar length. With [CLS] pooling
the last layer is computed for [CLS] alone. Weights go in and out under their Hugging Face names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from corom.checks import require_one_of
from corom.engines.base import LAYERS_OF
from corom.engines.packing import Block, Packing, collect, pack, spread
from corom.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from corom.engines.base import Part
    from corom.models.config import Pooling, Shape


def _attention(qkv: Tensor, packing: Packing, *, heads: int, dropout: float) -> Tensor:
    """Return the attention of packed queries, keys and values (n, 3 * hidden), packed again."""
    hidden = qkv.shape[1] // 3
    # torch's attention on the CPU knows no dropout but in fp32, with many passes over the scores.
    attend = _with_dropout if dropout and qkv.device.type == "cpu" else _fused
    parts = []
    for block, part in _padded(qkv, packing):
        split = part.view(block.texts, block.longest, 3, heads, hidden // heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        out = attend(q, k, v, mask=block.mask, dropout=dropout)
        out = out.transpose(1, 2).reshape(-1, hidden)
        if block.places is not None:
            out = collect(out, block.places)
        parts.append(out)
    return torch.cat(parts)


def _attention_of_firsts(
    qkv: nn.Linear, rows: Tensor, packing: Packing, *, heads: int, dropout: float
) -> Tensor:
    """Return the attention of each [CLS] to its text, (texts, hidden), longest text first.

    Keys and values of the other tokens are never made, exactly as in `GraphBuilder`: the score of
    token x is (K'q).x plus what is the same for all, and the mixed values are V (sum of p x) + v.
    """
    hidden = rows.shape[1]
    size = hidden // heads
    query, key, value = qkv.weight.chunk(3)
    query_bias, _, value_bias = qkv.bias.chunk(3)
    firsts = rows.index_select(0, packing.firsts).to(query.dtype)
    asked = F.linear(firsts, query, query_bias) * size**-0.5
    asked = torch.einsum("bhs,hsx->bhx", asked.view(-1, heads, size), key.view(heads, size, hidden))
    mixed, kept = [], []
    texts = [block.texts for block in packing.blocks]
    for (block, part), own in zip(_padded(rows, packing), asked.split(texts), strict=True):
        tokens = part.view(block.texts, block.longest, hidden).to(own.dtype)
        scores = torch.matmul(own, tokens.transpose(1, 2))  # (texts, heads, longest)
        if block.mask is not None:
            scores = scores.masked_fill(~block.mask[:, 0], torch.finfo(scores.dtype).min)
        weights = F.dropout(torch.softmax(scores, dim=-1), dropout).to(own.dtype)
        mixed.append(torch.matmul(weights, tokens))
        kept.append(weights.sum(-1, keepdim=True))
    values = torch.einsum("bhx,hsx->bhs", torch.cat(mixed), value.view(heads, size, hidden))
    # What fell out of the weights fell out of the bias too.
    return (values + torch.cat(kept) * value_bias.view(heads, size)).reshape(-1, hidden)


def _padded(rows: Tensor, packing: Packing) -> Iterator[tuple[Block, Tensor]]:
    """Yield each block with its rows, zeros where it is padded, (texts * longest, dim)."""
    # Splitting has one gradient for all blocks; slicing would make one of full size for each.
    sizes = [block.rows.stop - block.rows.start for block in packing.blocks]
    for block, part in zip(packing.blocks, rows.split(sizes), strict=True):
        if block.places is not None:
            part = spread(part, block.places, size=block.texts * block.longest)
        yield block, part


# Not cuDNN's, which torch prefers on newer GPUs: it seems to plan each shape anew, and almost every
# batch has shapes of its own. A step on an H200 took 2.3 s with new shapes, 0.3 s with known ones.
# The choice is the process's: between threads it can slip, which costs speed alone.
KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def _fused(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, dropout: float) -> Tensor:
    with sdpa_kernel(KERNELS):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def _with_dropout(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, dropout: float
) -> Tensor:
    """Return attention (b, heads, t, size) in the dtype of `q`; weights fall out at random."""
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    if mask is not None:
        low = torch.finfo(scores.dtype).min
        scores = scores.add_(torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, low))
    weights = torch.softmax(scores, dim=-1)
    kept = torch.empty_like(weights).bernoulli_(1 - dropout)
    # Values are fewer than weights: they take the factor that keeps the mean.
    return torch.matmul(weights * kept, v / (1 - dropout))


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


class Layer(nn.Module):  # type: ignore[misc]
    """One transformer layer (post-norm, as in BERT) on packed rows."""

    def __init__(self, shape: Shape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, dropout
        self.activation = _ACTIVATIONS[shape.activation]
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.attended = nn.Linear(shape.hidden, shape.hidden)
        self.attended_norm = nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)
        self.inner = nn.Linear(shape.hidden, shape.intermediate)
        self.outer = nn.Linear(shape.intermediate, shape.hidden)
        self.outer_norm = nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)

    def forward(self, rows: Tensor, packing: Packing, *, first_only: bool = False) -> Tensor:
        """Return the layer's packed rows, or each text's [CLS] row, longest text first."""
        return self.feed_forward(self.attend(rows, packing, first_only=first_only))

    def attend(self, rows: Tensor, packing: Packing, *, first_only: bool = False) -> Tensor:
        """Return the rows that the layer's second half, its feed-forward block, is given."""
        dropout = self.dropout if self.training else 0.0
        if first_only:
            attended = _attention_of_firsts(
                self.qkv, rows, packing, heads=self.heads, dropout=dropout
            )
            rows = rows.index_select(0, packing.firsts).to(self.attended_norm.weight.dtype)
        else:
            attended = _attention(self.qkv(rows), packing, heads=self.heads, dropout=dropout)
        return self.attended_norm(rows + F.dropout(self.attended(attended), dropout))

    def feed_forward(self, rows: Tensor) -> Tensor:
        """Return the layer's rows; each depends on its own input alone."""
        dropout = self.dropout if self.training else 0.0
        inner = self.activation(self.inner(rows))
        return self.outer_norm(rows + F.dropout(self.outer(inner), dropout))


class TorchBert(nn.Module):  # type: ignore[misc]
    """A BERT encoder of a `Shape`, randomly initialised (normal, 0.02) until weights are loaded."""

    def __init__(self, shape: Shape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.words = nn.Embedding(shape.vocabulary, shape.hidden)
        self.positions = nn.Embedding(shape.positions, shape.hidden)
        self.types = nn.Embedding(shape.token_types, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(shape, dropout=dropout) for _ in range(shape.layers))
        self.apply(_initialise)

    def pack(self, ids: Tensor, lengths: Tensor) -> Packing:
        """Return the packing of padded `ids` (b, t) with `lengths` (b,)."""
        if ids.ndim != 2 or ids.shape[1] > self.shape.positions or len(ids) != len(lengths):
            raise InputError(
                f"ids of shape {tuple(ids.shape)} for {len(lengths)} lengths: expected "
                f"(texts, tokens) with at most {self.shape.positions} tokens"
            )
        return pack(lengths, width=ids.shape[1], device=ids.device)

    def embed(self, ids: Tensor, packing: Packing) -> Tensor:
        """Return the packed embedding rows (n, hidden) of padded `ids` (b, t)."""
        words = self.words(ids.flatten().index_select(0, packing.places))
        rows = self.norm(words + self.positions(packing.positions) + self.types.weight[0])
        return F.dropout(rows, self.dropout, self.training)

    def hidden_states(self, ids: Tensor, packing: Packing) -> list[Tensor]:
        """Return the packed rows (n, hidden) of the embeddings and of every layer."""
        states = [self.embed(ids, packing)]
        for layer in self.layers:
            states.append(layer(states[-1], packing))
        return states

    def encode(self, ids: Tensor, lengths: Tensor, *, pooling: Pooling, normalize: bool) -> Tensor:
        """Return one float32 vector per text (b, hidden), `pooling` as ModelScope names it."""
        if not len(lengths):
            return self.norm.weight.new_zeros(0, self.shape.hidden, dtype=torch.float32)
        packing = self.pack(ids, lengths)
        if pooling == "cls":
            vectors = self._first_rows(ids, packing)
        else:
            vectors = _average(self.hidden_states(ids, packing), packing, pooling=pooling)
        return F.normalize(vectors, dim=1) if normalize else vectors

    def before(self, part: Part, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return what the end of the encoder is given for each text, float32.

        With [CLS] pooling the rest of the encoder's work is that part. (b, t, hidden), zero where
        `ids` is padding, before layers; (b, 1, hidden) before the block.
        """
        packing = self.pack(ids, lengths)
        rows = self._below(ids, packing, top=LAYERS_OF[part])
        if part != "last block":
            return spread(rows, packing.places, size=ids.numel()).view(*ids.shape, -1).float()
        firsts = self.layers[-1].attend(rows, packing, first_only=True)
        return firsts.index_select(0, packing.back)[:, None].float()

    def _first_rows(self, ids: Tensor, packing: Packing) -> Tensor:
        firsts = self.layers[-1](self._below(ids, packing, top=1), packing, first_only=True)
        return firsts.index_select(0, packing.back).float()

    def _below(self, ids: Tensor, packing: Packing, *, top: int) -> Tensor:
        """Return the packed rows (n, hidden) that the `top` last layers are given."""
        rows = self.embed(ids, packing)
        for layer in self.layers[:-top]:
            rows = layer(rows, packing)
        return rows

    def load_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy in weights by their Hugging Face names; a missing or misshapen one is refused."""
        with torch.no_grad():
            for name, target in _named_parts(self):
                if name not in weights:
                    raise ArtifactError(f"the weights lack {name}; is this a BERT encoder?")
                if weights[name].shape != tuple(target.shape):
                    raise ArtifactError(
                        f"{name} has shape {weights[name].shape}, "
                        f"the model's shape asks for {tuple(target.shape)}"
                    )
                target.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))

    def export_weights(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of all weights as float32 arrays under their Hugging Face names."""
        return {
            name: part.detach().to("cpu", torch.float32, copy=True).numpy()
            for name, part in _named_parts(self)
        }


def _average(states: list[Tensor], packing: Packing, *, pooling: Pooling) -> Tensor:
    """Return the mean over each text's tokens; of two layers, of their mean (as ModelScope's)."""
    pairs = {"avg": (-1, -1), "avg_first_last": (1, -1), "avg_top2": (-2, -1)}
    require_one_of("pooling", pooling, ("cls", *pairs))
    one, other = (states[layer].float() for layer in pairs[pooling])
    rows = one if pooling == "avg" else (one + other) / 2
    sums = rows.new_zeros(len(packing.lengths), rows.shape[1]).index_add(0, packing.owners, rows)
    return sums / packing.lengths[:, None]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


_LAYER_NAMES = {
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "outer_norm": "output.LayerNorm",
}


def _named_parts(model: TorchBert) -> list[tuple[str, Tensor]]:
    """Return every weight (or a view of its part) with its Hugging Face name."""
    parts: list[tuple[str, Tensor]] = [
        ("embeddings.word_embeddings.weight", model.words.weight),
        ("embeddings.position_embeddings.weight", model.positions.weight),
        ("embeddings.token_type_embeddings.weight", model.types.weight),
        ("embeddings.LayerNorm.weight", model.norm.weight),
        ("embeddings.LayerNorm.bias", model.norm.bias),
    ]
    for number, layer in enumerate(model.layers):
        prefix = f"encoder.layer.{number}"
        for kind in ("weight", "bias"):
            thirds = getattr(layer.qkv, kind).chunk(3)
            for name, third in zip(("query", "key", "value"), thirds, strict=True):
                parts.append((f"{prefix}.attention.self.{name}.{kind}", third))
            for own, theirs in _LAYER_NAMES.items():
                parts.append((f"{prefix}.{theirs}.{kind}", getattr(getattr(layer, own), kind)))
    return parts
