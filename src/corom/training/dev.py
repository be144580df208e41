"""The dev figure: MRR@10 of a dataset's queries, all processes encoding their share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from corom.errors import InputError
from corom.ranking import id_ranks, top_k
from corom.readers import open_dataset
from corom.tokens import TokenIds, batches
from corom.training.batches import Chunk, Cutters
from corom.training.rows import passage_text
from corom.training.settings import DevSettings

K = 10
_BUDGET = 16_384
_QUERIES_AT_ONCE = 64


class Dev:
    """A dev set, read once: its queries, the passages searched, and what is relevant."""

    def __init__(
        self, settings: DevSettings, *, seed: int, accelerator: Accelerator, cutters: Cutters
    ) -> None:
        dataset = open_dataset(settings.folder)
        relevant: dict[str, set[str]] = defaultdict(set)
        for qrel in dataset.qrels(settings.queries):
            if qrel.grade > 0:
                relevant[qrel.query_id].add(qrel.passage_id)
        queries = [query for query in dataset.queries(settings.queries) if relevant[query.id]]
        if not queries:
            raise InputError(f"{settings.folder}: no query of {settings.queries} can be judged")
        rng = np.random.default_rng((seed, 2))
        chosen = np.sort(rng.permutation(len(queries))[: settings.max_queries])
        queries = [queries[place] for place in chosen]
        needed = set[str]().union(*(relevant[query.id] for query in queries))
        passages = list(dataset.passages())
        if settings.max_passages is not None:
            others = [place for place, one in enumerate(passages) if one.id not in needed]
            kept = set(rng.permutation(others)[: settings.max_passages].tolist())
            passages = [p for place, p in enumerate(passages) if place in kept or p.id in needed]
        self.accelerator = accelerator
        self.ranks = id_ranks([passage.id for passage in passages])
        places = {passage.id: place for place, passage in enumerate(passages)}
        self.relevant = [
            [places[id_] for id_ in relevant[query.id] if id_ in places] for query in queries
        ]
        self.queries = [tokens.ids for tokens in cutters.query.cut([q.text for q in queries])]
        texts = [passage_text(passage) for passage in passages]
        self.passages = [tokens.ids for tokens in cutters.passage.cut(texts)]

    def mrr(self, encode: Callable[[Chunk], Tensor]) -> float:
        """Return MRR@10 with the vectors that `encode` gives; the same on every process."""
        queries, passages = (self._vectors(t, encode) for t in (self.queries, self.passages))
        total = 0.0
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            scores = queries[start : start + _QUERIES_AT_ONCE] @ passages.T
            for row, places in enumerate(top_k(scores, K, ranks=self.ranks).positions):
                found = np.isin(places, self.relevant[start + row]).nonzero()[0]
                total += 1 / (1 + found[0]) if len(found) else 0.0
        return float(total / len(queries))

    def _vectors(
        self, tokens: Sequence[TokenIds], encode: Callable[[Chunk], Tensor]
    ) -> NDArray[np.float32]:
        process, count = self.accelerator.process_index, self.accelerator.num_processes
        # Shares of equal size, for gathering: the last texts of some are encoded twice.
        share = -(-len(tokens) // count)
        own = [tokens[(process * share + place) % len(tokens)] for place in range(share)]
        parts, rows = [], []
        with torch.no_grad():
            for batch in batches(own, budget=_BUDGET):
                ids = torch.from_numpy(batch.ids).to(self.accelerator.device, torch.int64)
                parts.append(encode(Chunk(ids, torch.from_numpy(batch.lengths))))
                rows.append(batch.rows)
        vectors = torch.cat(parts)[np.argsort(np.concatenate(rows))]
        gathered = self.accelerator.gather(vectors)[: len(tokens)]
        found: NDArray[np.float32] = gathered.float().cpu().numpy()
        return found
