"""A cross-encoder that is imitated: what it says of the passages of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from corom.reranker import Reranker
from corom.training.batches import TrainBatch
from corom.training.loss import EMPTY


class PairScores:
    """Scores of queries with their own passages; a pair is read once, its score kept (200 bytes).

    Mined negatives come again every epoch, so that from the second on nothing is left to read.
    """

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self._known: dict[tuple[int, int], float] = {}

    def of(self, batch: TrainBatch) -> Tensor:
        """Return the score of each query's passages, (b, s) float32; 0 where a slot is empty."""
        queries = batch.query_keys.tolist()
        places = [
            (row, slot, (queries[row], key))
            for row, keys in enumerate(batch.passage_keys.tolist())
            for slot, key in enumerate(keys)
            if key != EMPTY
        ]
        unread: dict[tuple[int, int], tuple[str, str]] = {}
        for (row, _, pair), passage in zip(places, batch.texts.passages, strict=True):
            if pair not in self._known:
                unread[pair] = batch.texts.queries[row], passage
        scores = self._reranker.score(
            [query for query, _ in unread.values()], [passage for _, passage in unread.values()]
        )
        self._known |= dict(zip(unread, scores.tolist(), strict=True))
        found = torch.zeros(batch.passage_keys.shape)
        for row, slot, pair in places:
            found[row, slot] = self._known[pair]
        return found
