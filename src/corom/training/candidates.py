"""Where negatives come from: the model itself, BM25, or chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from corom.encoder import Encoder
from corom.evaluation import dense as evaluation
from corom.index import BM25Index
from corom.records import Passage
from corom.training.examples import text_key
from corom.training.mining_settings import MineSettings
from corom.training.progress import Counted
from corom.training.retrieval import Nearest, cuda_device
from corom.vectors import Vectors


class Candidates(NamedTuple):
    """What a source offers for a query, best first."""

    places: NDArray[np.int64]
    """(k,) in the pool."""
    scores: NDArray[np.float32]
    bar: float
    """What scores above it is probably an answer."""


class Source(Protocol):
    """A way to rank the pool for queries."""

    def candidates(
        self, queries: Sequence[str], positives: Sequence[Sequence[str]]
    ) -> list[Candidates]:
        """Return what each query, with these known positives, is offered."""
        ...


def open_source(
    settings: MineSettings,
    texts: Sequence[str],
    *,
    places: Mapping[int, int],
    progress: Callable[[Counted], None] | None = None,
) -> Source:
    """Return the source the settings name over a pool of texts; `places`: text key -> place."""
    if settings.source == "random":
        return Chance(len(texts), settings=settings)
    if settings.source == "bm25":
        return Lexical(texts, settings=settings)
    return Dense(texts, settings=settings, places=places, progress=progress)


class Dense:
    """The pool ranked by a model's vectors (3 kB of memory a passage at 768 dimensions).

    The vectors are kept in a folder: after a kill, only what is missing is encoded.
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        settings: MineSettings,
        places: Mapping[int, int],
        progress: Callable[[Counted], None] | None = None,
    ) -> None:
        self.settings, self.places, device = settings, places, cuda_device()
        self.encoder = Encoder.load(
            settings.model,
            device=device or "auto",
            max_length=settings.max_length,
            precision=settings.precision,
        )
        model = evaluation.Dense(self.encoder, name=settings.model, work=settings.kept_vectors)

        def encoded(done: int) -> None:
            if progress:
                progress(Counted("passages", done, len(texts)))

        parts = model.vectors(texts, side="passage", progress=encoded)
        self.vectors = np.concatenate(list(parts))
        self.nearest = Nearest(self.vectors, device=device)

    def candidates(
        self, queries: Sequence[str], positives: Sequence[Sequence[str]]
    ) -> list[Candidates]:
        """Return the nearest passages; the bar is below the lowest positive, by the margin."""
        vectors = self.encoder.encode_queries(queries)
        best = self.nearest.search(vectors, k=self.settings.depth)
        bars = self._bars(vectors, positives)
        return [Candidates(*found) for found in zip(*best, bars, strict=True)]

    def _bars(self, queries: Vectors, positives: Sequence[Sequence[str]]) -> list[float]:
        margin = self.settings.relative_margin
        if margin is None:
            return [float("inf")] * len(queries)
        unknown = list(
            dict.fromkeys(
                text for texts in positives for text in texts if text_key(text) not in self.places
            )
        )
        extra = dict(zip(unknown, self.encoder.encode_passages(unknown), strict=True))
        lowest = []
        for query, texts in zip(queries, positives, strict=True):
            known = [
                extra[text] if text in extra else self.vectors[self.places[text_key(text)]]
                for text in texts
            ]
            score = float(min(query @ vector for vector in known))
            lowest.append(score - margin * abs(score))
        return lowest


class Lexical:
    """The pool ranked by the words it shares with a query."""

    def __init__(self, texts: Sequence[str], *, settings: MineSettings) -> None:
        self.depth, self.index = settings.depth, BM25Index.new()
        self.index.add([Passage(str(place), text) for place, text in enumerate(texts)])

    def candidates(
        self,
        queries: Sequence[str],
        positives: Sequence[Sequence[str]],  # noqa: ARG002 - their scores say nothing here
    ) -> list[Candidates]:
        """Return up to `depth` passages that share a word with the query; there is no bar."""
        found = self.index.search(queries, self.depth)
        return [
            Candidates(
                np.array([int(hit.id) for hit in hits], dtype=np.int64),
                np.array([hit.score for hit in hits], dtype=np.float32),
                float("inf"),
            )
            for hits in found
        ]


class Chance:
    """Passages at random, another draw for every query, the same for every run of a seed."""

    def __init__(self, size: int, *, settings: MineSettings) -> None:
        self.size, self.settings = size, settings

    def candidates(
        self,
        queries: Sequence[str],
        positives: Sequence[Sequence[str]],  # noqa: ARG002
    ) -> list[Candidates]:
        """Return `depth` different passages for each query."""
        found = []
        for query in queries:
            rng = np.random.default_rng((self.settings.seed, text_key(query) % 2**63))
            places = rng.choice(self.size, min(self.settings.depth, self.size), replace=False)
            scores = np.zeros(len(places), dtype=np.float32)
            found.append(Candidates(places, scores, float("inf")))
        return found
