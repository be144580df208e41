"""A reranker's dev figure: how well it orders what a first search found, all processes reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from corom.errors import InputError
from corom.extras import need
from corom.metrics import evaluate_run
from corom.readers import Dataset, open_dataset
from corom.records import Hit
from corom.reranker import reordered
from corom.runs import read_trec_run
from corom.tokens import PairCutter
from corom.training.batches import Chunk
from corom.training.dev import encoded, judged
from corom.training.run_settings import RerankerDevSettings


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


def _texts_of(dataset: Dataset, found: Mapping[str, list[Hit]], *, run: str) -> dict[str, str]:
    """Return the texts of all passages that were found."""
    wanted = {hit.id for hits in found.values() for hit in hits}
    texts = {passage.id: passage.content for passage in dataset.passages() if passage.id in wanted}
    if missing := len(wanted) - len(texts):
        raise InputError(f"{run} holds {missing} passages that the data set has not")
    return texts
