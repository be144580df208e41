"""A question generator: an encoder that reads a passage, a decoder grown from it that asks.

What it makes are more pairs to learn from (doc2query, Nogueira and Lin 2019; GPL, Wang et al.,
2112.07577). The decoder starts as a copy of the encoder's layers whose attention to the passage
adds nothing yet. Its first input is a style, one for each source of questions, so that a passage of
one source can be asked about as those of another are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from corom.engines.packing import spread
from corom.engines.torch_bert import Layer, TorchBert
from corom.models.config import Shape

IGNORED = -100
Memory = tuple[Tensor, Tensor]


class DecoderLayer(nn.Module):  # type: ignore[misc]
    """Attention to what is asked so far, then to the passage, then a feed-forward block."""

    def __init__(self, layer: Layer, *, dropout: float) -> None:
        super().__init__()
        hidden = layer.attended.in_features
        self.heads, self.dropout, self.own = layer.heads, dropout, layer
        self.asking_norm = nn.LayerNorm(hidden, eps=layer.outer_norm.eps)
        self.asking = nn.Linear(hidden, hidden)
        self.told = nn.Linear(hidden, 2 * hidden)
        self.heard = nn.Linear(hidden, hidden)
        with torch.no_grad():
            for name in ("weight", "bias"):
                given = getattr(layer.qkv, name)
                getattr(self.asking, name).copy_(given[:hidden])
                getattr(self.told, name).copy_(given[hidden:])
        nn.init.zeros_(self.heard.weight)
        nn.init.zeros_(self.heard.bias)

    def memory(self, states: Tensor) -> Memory:
        """Return the keys and values (b, heads, t, size) of a passage's states (b, t, hidden)."""
        keys, values = self._split(self.told(states), 2)
        return keys, values

    def forward(self, rows: Tensor, memory: Memory, mask: Tensor, past: list[Memory]) -> Tensor:
        """Return the layer's rows (b, t, hidden).

        `past` holds the keys and values of earlier calls, if any, and gets those of this one; only
        a call without a past may have several rows.
        """
        share = self.dropout if self.training else 0.0
        query, key, value = self._split(self.own.qkv(rows), 3)
        if past:
            key, value = (torch.cat(both, 2) for both in zip(past.pop(), (key, value), strict=True))
        past.append((key, value))
        causal = rows.shape[1] > 1
        seen = F.scaled_dot_product_attention(query, key, value, dropout_p=share, is_causal=causal)
        added = F.dropout(self.own.attended(_joined(seen)), share)
        rows = self.own.attended_norm(rows + added)
        (query,) = self._split(self.asking(self.asking_norm(rows)), 1)
        seen = F.scaled_dot_product_attention(query, *memory, attn_mask=mask, dropout_p=share)
        rows = rows + F.dropout(self.heard(_joined(seen)), share)
        return self.own.feed_forward(rows)

    def _split(self, rows: Tensor, parts: int) -> Tensor:
        """Return (b, t, parts * hidden) as (parts, b, heads, t, size)."""
        return rows.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)


def _joined(heads: Tensor) -> Tensor:
    return heads.transpose(1, 2).flatten(2)


class Generator(nn.Module):  # type: ignore[misc]
    """An encoder and a decoder over the same word vectors.

    `bert` gives the weights both start from; `styles` says how many kinds of questions there are.
    """

    def __init__(self, bert: TorchBert, *, styles: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.bert, self.dropout, shape = bert, dropout, bert.shape
        copy = TorchBert(shape, dropout=dropout)
        copy.load_state_dict(bert.state_dict())
        self.positions, self.norm = copy.positions, copy.norm
        self.layers = nn.ModuleList(DecoderLayer(one, dropout=dropout) for one in copy.layers)
        self.styles = nn.Embedding(styles, shape.hidden)
        self.head, self.head_norm = _head(shape)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))
        with torch.no_grad():
            self.styles.weight.normal_(0, 0.02).add_(bert.words.weight.mean(0))

    def new_parts(self) -> list[nn.Parameter]:
        """Return what starts from nothing and may learn faster than the rest."""
        parts: list[nn.Module] = [self.styles, self.head, self.head_norm]
        parts += [layer.heard for layer in self.layers]
        return [self.bias, *(weight for part in parts for weight in part.parameters())]

    def loss(self, ids: Tensor, lengths: Tensor, styles: Tensor, questions: Tensor) -> Tensor:
        """Return the cross entropy of questions (b, t), which end with their end token.

        Behind it they are padded with IGNORED. Passages are `ids` (b, s) of `lengths` (b,).
        """
        rows = self.rows(ids, lengths, styles, questions[:, :-1].clamp_min(0))
        there = questions != IGNORED
        logits = self.logits(rows[there]).float()
        return F.cross_entropy(logits, questions[there], label_smoothing=0.05)

    def rows(self, ids: Tensor, lengths: Tensor, styles: Tensor, begun: Tensor) -> Tensor:
        """Return the decoder's rows (b, t + 1, hidden) where questions `begun` (b, t) go on."""
        memories, mask = self._read(ids, lengths)
        words = torch.cat([self.styles(styles)[:, None], self.bert.words(begun)], 1)
        rows = self._embedded(words, first=0)
        for layer, memory in zip(self.layers, memories, strict=True):
            rows = layer(rows, memory, mask, [])
        return rows

    def logits(self, rows: Tensor) -> Tensor:
        """Return what rows (n, hidden) say of the next token, (n, vocabulary)."""
        rows = self.head_norm(F.gelu(self.head(rows)))
        return F.linear(rows, self.bert.words.weight.to(rows.dtype), self.bias.to(rows.dtype))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def ask(
        self,
        ids: Tensor,
        lengths: Tensor,
        styles: Tensor,
        *,
        most: int,
        end: int,
        never: list[int],
        top: int = 30,
        share: float = 0.92,
        temperature: float = 0.85,
    ) -> Tensor:
        """Return questions drawn for passages, (b, n, most), the end token from their end on.

        `styles` (b, n) says which each is. The next token is one of the `top` likeliest that make
        up `share` (nucleus sampling, Holtzman et al., 1904.09751), none of `never`.
        """
        memories, mask = self._read(ids, lengths)
        copies, styles = styles.shape[1], styles.flatten()
        memories = [
            (keys.repeat_interleave(copies, 0), values.repeat_interleave(copies, 0))
            for keys, values in memories
        ]
        mask = mask.repeat_interleave(copies, 0)
        found = torch.full((len(styles), most), end, device=ids.device)
        ended = torch.zeros(len(styles), dtype=torch.bool, device=ids.device)
        pasts: list[list[Memory]] = [[] for _ in self.layers]
        words = self.styles(styles)[:, None]
        for place in range(most):
            rows = self._embedded(words, first=place)
            for layer, memory, past in zip(self.layers, memories, pasts, strict=True):
                rows = layer(rows, memory, mask, past)
            logits = self.logits(rows[:, 0]).float()
            logits[:, never] = -torch.inf
            token = _drawn(logits / temperature, top=top, share=share)
            token = token.masked_fill(ended, end)
            found[:, place] = token
            ended |= token == end
            if bool(ended.all()):
                break
            words = self.bert.words(token)[:, None]
        return found.unflatten(0, (-1, copies))

    def _read(self, ids: Tensor, lengths: Tensor) -> tuple[list[Memory], Tensor]:
        packing = self.bert.pack(ids, lengths)
        rows = self.bert.hidden_states(ids, packing)[-1]
        states = spread(rows, packing.places, size=ids.numel()).unflatten(0, ids.shape)
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device)[:, None]
        return [layer.memory(states) for layer in self.layers], mask[:, None, None]

    def _embedded(self, words: Tensor, *, first: int) -> Tensor:
        places = self.positions.weight[first : first + words.shape[1]]
        return F.dropout(self.norm(words + places), self.dropout, self.training)


def _head(shape: Shape) -> tuple[nn.Linear, nn.LayerNorm]:
    head = nn.Linear(shape.hidden, shape.hidden)
    nn.init.eye_(head.weight)
    nn.init.zeros_(head.bias)
    return head, nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)


def _drawn(logits: Tensor, *, top: int, share: float) -> Tensor:
    """Return a token for each row of logits (b, vocabulary)."""
    best, which = logits.topk(min(top, logits.shape[1]), dim=1)
    chances = best.softmax(1)
    chances = chances.masked_fill(chances.cumsum(1) - chances > share, 0)
    return which.gather(1, torch.multinomial(chances, 1))[:, 0]
