"""The dev figures, computed by all processes together.

An encoder's says how well a dataset's queries find their passages, a reranker's how well it orders
what a first search found for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from corom.errors import InputError
from corom.extras import need
from corom.metrics import evaluate_run
from corom.ranking import id_ranks, top_k
from corom.readers import Dataset, open_dataset
from corom.records import Hit, Passage, Qrel, Query
from corom.reranker import reordered
from corom.runs import read_trec_run
from corom.tokens import PairCutter, TokenIds, batches
from corom.training.batches import Chunk, Cutters
from corom.training.run_settings import DevSettings, JudgedSettings, RerankerDevSettings

_BUDGET = 16_384
_QUERIES_AT_ONCE = 64


class Dev:
    """A dev set, read once: its queries, the passages searched, and what is relevant."""

    def __init__(
        self, settings: DevSettings, *, seed: int, accelerator: Accelerator, cutters: Cutters
    ) -> None:
        need("ir_measures", extra="train")
        self.settings, self.accelerator = settings, accelerator
        dataset, rng = open_dataset(settings.folder), np.random.default_rng((seed, 2))
        queries, self.qrels = judged(dataset, settings, rng=rng)
        needed = {qrel.passage_id for qrel in self.qrels}
        passages = _sampled(list(dataset.passages()), needed, most=settings.max_passages, rng=rng)
        self.query_ids = [query.id for query in queries]
        self.passage_ids = [passage.id for passage in passages]
        self.ranks = id_ranks(self.passage_ids)
        self.queries = [tokens.ids for tokens in cutters.query.cut([q.text for q in queries])]
        texts = [passage.content for passage in passages]
        self.passages = [tokens.ids for tokens in cutters.passage.cut(texts)]

    def figure(self, encode: Callable[[Chunk], Tensor]) -> float:
        """Return the measure with the vectors that `encode` gives; the same on every process."""
        queries, passages = (
            encoded(tokens, encode, accelerator=self.accelerator)
            for tokens in (self.queries, self.passages)
        )
        measure, run = self.settings.measure, {}
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            scores = queries[start : start + _QUERIES_AT_ONCE] @ passages.T
            best = top_k(scores, int(measure.partition("@")[2]), ranks=self.ranks)
            for row, (places, found) in enumerate(zip(*best, strict=True)):
                run[self.query_ids[start + row]] = [
                    Hit(self.passage_ids[place], float(score))
                    for place, score in zip(places, found, strict=True)
                ]
        return evaluate_run(run, self.qrels, measures=[measure]).means[measure]


class RerankerDev:
    """The judged queries of a dataset with the hits of a first search, read once."""

    def __init__(
        self,
        settings: RerankerDevSettings,
        *,
        seed: int,
        accelerator: Accelerator,
        cutter: PairCutter,
    ) -> None:
        need("ir_measures", extra="train")
        self.settings, self.accelerator = settings, accelerator
        dataset, rng = open_dataset(settings.folder), np.random.default_rng((seed, 2))
        queries, self.qrels = judged(dataset, settings, rng=rng)
        found = read_trec_run(Path(settings.run))
        if missing := [query.id for query in queries if query.id not in found]:
            raise InputError(
                f"{settings.run} has nothing for {len(missing)} of {len(queries)} judged queries "
                f"of {settings.queries}; make it from the same ones (corom evaluate --runs)"
            )
        self.hits = {query.id: found[query.id][: settings.depth] for query in queries}
        texts = _texts_of(dataset, self.hits, run=settings.run)
        pairs = [(query.text, texts[hit.id]) for query in queries for hit in self.hits[query.id]]
        self.pairs = [
            tokens.ids
            for tokens in cutter.cut([left for left, _ in pairs], [right for _, right in pairs])
        ]

    def figure(self, score: Callable[[Chunk], Tensor]) -> float:
        """Return the measure with the scores that `score` gives; the same on every process."""
        scores = iter(encoded(self.pairs, score, accelerator=self.accelerator)[:, 0].tolist())
        measure, share = self.settings.measure, self.settings.share
        run = {
            query: reordered(hits, list(islice(scores, len(hits))), share=share)
            for query, hits in self.hits.items()
        }
        return evaluate_run(run, self.qrels, measures=[measure]).means[measure]


def encoded(
    tokens: Sequence[TokenIds], encode: Callable[[Chunk], Tensor], *, accelerator: Accelerator
) -> NDArray[np.float32]:
    """Return what `encode` gives for each text, all processes sharing them."""
    process, count = accelerator.process_index, accelerator.num_processes
    # Shares of equal size, for gathering: the last texts of some are encoded twice.
    share = -(-len(tokens) // count)
    own = [tokens[(process * share + place) % len(tokens)] for place in range(share)]
    parts, rows = [], []
    with torch.no_grad():
        for batch in batches(own, budget=_BUDGET):
            ids = torch.from_numpy(batch.ids).to(accelerator.device, torch.int64)
            parts.append(encode(Chunk(ids, torch.from_numpy(batch.lengths))))
            rows.append(batch.rows)
    vectors = torch.cat(parts)[np.argsort(np.concatenate(rows))]
    gathered = accelerator.gather(vectors)[: len(tokens)]
    found: NDArray[np.float32] = gathered.float().cpu().numpy()
    return found


def judged(
    dataset: Dataset, settings: JudgedSettings, *, rng: np.random.Generator
) -> tuple[list[Query], list[Qrel]]:
    """Return the chosen queries that have a relevant passage, and the judgements on them."""
    qrels = list(dataset.qrels(settings.queries))
    relevant = {qrel.query_id for qrel in qrels if qrel.grade > 0}
    queries = [query for query in dataset.queries(settings.queries) if query.id in relevant]
    if not queries:
        raise InputError(f"{settings.folder}: no query of {settings.queries} can be judged")
    chosen = np.sort(rng.permutation(len(queries))[: settings.max_queries])
    queries = [queries[place] for place in chosen]
    ids = {query.id for query in queries}
    return queries, [qrel for qrel in qrels if qrel.query_id in ids]


def _sampled(
    passages: list[Passage], needed: set[str], *, most: int | None, rng: np.random.Generator
) -> list[Passage]:
    """Return the needed passages and at most so many others."""
    if most is None:
        return passages
    others = [place for place, passage in enumerate(passages) if passage.id not in needed]
    kept = set(rng.permutation(others)[:most].tolist())
    return [one for place, one in enumerate(passages) if place in kept or one.id in needed]


def _texts_of(dataset: Dataset, found: Mapping[str, list[Hit]], *, run: str) -> dict[str, str]:
    """Return the texts of all passages that were found."""
    wanted = {hit.id for hits in found.values() for hit in hits}
    texts = {passage.id: passage.content for passage in dataset.passages() if passage.id in wanted}
    if missing := len(wanted) - len(texts):
        raise InputError(f"{run} holds {missing} passages that the data set has not")
    return texts
