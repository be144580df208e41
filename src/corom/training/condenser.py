"""The pre-training model: an encoder whose [CLS] must carry what a short head needs.

Condenser (Gao & Callan, 2104.08253): two more layers, the head, see the late [CLS] but only early
states of all other tokens, and must predict the hidden tokens: what the late layers know reaches
them through [CLS] alone. The encoder's own last layer predicts them too ("late MLM").
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from corom.engines.packing import Packing
from corom.engines.torch_bert import Layer, TorchBert
from corom.models.config import Shape
from corom.training.masking import UNMASKED


class Head(nn.Module):  # type: ignore[misc]
    """The layers and the prediction that pre-training adds; they are dropped afterwards."""

    def __init__(self, shape: Shape, *, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape, dropout=dropout) for _ in range(layers))
        self.transform = nn.Linear(shape.hidden, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def prediction_loss(self, rows: Tensor, labels: Tensor, *, words: Tensor) -> Tensor:
        """Return the summed cross entropy of hidden tokens; the decoder is `words`, transposed."""
        logits = self.norm(F.gelu(self.transform(rows))) @ words.T + self.bias
        return F.cross_entropy(logits.float(), labels, reduction="sum")


class Condenser(nn.Module):  # type: ignore[misc]
    """An encoder and its head. Without head layers: plain masked language modelling."""

    def __init__(self, bert: TorchBert, *, head_layers: int, early_layer: int) -> None:
        super().__init__()
        self.bert, self.early_layer = bert, early_layer
        self.head = Head(bert.shape, layers=head_layers, dropout=bert.dropout)

    def forward(
        self, ids: Tensor, lengths: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return [CLS] vectors (b, hidden) and, given `labels` (b, t), the summed losses."""
        packing = self.bert.pack(ids, lengths)
        states = self.bert.hidden_states(ids, packing)
        firsts = states[-1].index_select(0, packing.firsts)
        vectors = firsts.index_select(0, packing.back).float()
        if labels is None:
            return vectors, None
        packed = labels.flatten().index_select(0, packing.places)
        hidden = (packed != UNMASKED).nonzero().flatten()
        loss = self._loss(states[-1], packed, hidden=hidden)
        if len(self.head.layers):
            early = states[self.early_layer]
            rows = self._head_rows(early.index_copy(0, packing.firsts, firsts), packing)
            loss = loss + self._loss(rows, packed, hidden=hidden)
        return vectors, loss

    def _head_rows(self, rows: Tensor, packing: Packing) -> Tensor:
        for layer in self.head.layers:
            rows = layer(rows, packing)
        return rows

    def _loss(self, rows: Tensor, labels: Tensor, *, hidden: Tensor) -> Tensor:
        rows, labels = rows.index_select(0, hidden), labels.index_select(0, hidden)
        return self.head.prediction_loss(rows, labels, words=self.bert.words.weight)
