"""What `corom evaluate` measures: models, with the rows that flags make of each, and indexes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from corom.cli.loading import BM25, load_splitter
from corom.cli.progress import progress_bar
from corom.cli.texts import nameable

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.evaluation import Dense, PairReport, Report, Retriever
    from corom.readers import Dataset
    from corom.reranker import SecondPass
    from corom.search import Fusion


class Models(NamedTuple):
    """What is measured, and how it is loaded."""

    names: Sequence[str]
    indexes: Sequence[str]
    dims: Sequence[int | None]
    parts: Sequence[int]
    fusions: Sequence[Fusion]
    work: Path | None
    normalize: bool | None
    load: Callable[[str], Encoder]

    def encoders(self) -> dict[str, Encoder]:
        """Load those with vectors."""
        return {name: self.load(name) for name in self.names if name != BM25}

    def dense(
        self, name: str, encoder: Encoder, *, progress: Callable[[int], None] | None = None
    ) -> list[Dense]:
        """Return an encoder's rows: of whole vectors, and of each shorter length."""
        from corom.environment import cache_folder
        from corom.evaluation import Dense

        work = self.work or cache_folder() / "evaluate"
        return [
            Dense(
                encoder,
                name=name if dim is None else f"{name}@{dim}",
                work=work,
                normalize=self.normalize,
                truncate_dim=dim,
                progress=progress,
            )
            for dim in self.dims
        ]

    def retrievers(
        self, encoders: Mapping[str, Encoder], *, progress: Callable[[int], None]
    ) -> list[Retriever]:
        """Return a row for each model, shorter length, size of parts and fusion, then indexes."""
        from corom.evaluation import Lexical

        rows: list[Retriever] = []
        for name in self.names:
            if name == BM25:
                own: list[Retriever] = [Lexical(name=BM25)]
            else:
                own = [*self.dense(name, encoders[name], progress=progress)]
            rows += [*own, *self._parted(own[0], encoders.get(name)), *self._fused(own[0])]
        return rows + [_stored(place, self.load) for place in self.indexes]

    def _parted(self, whole: Retriever, encoder: Encoder | None) -> list[Retriever]:
        """Return a row for each size of parts."""
        from corom.evaluation import Parted

        reads = None if encoder is None else encoder.max_length
        return [
            Parted(whole, load_splitter(whole.name, part_tokens=tokens, reads=reads))
            for tokens in self.parts
        ]

    def _fused(self, whole: Retriever) -> list[Retriever]:
        """Return a row for each weight, of a model with vectors."""
        from corom.evaluation import Fused, Lexical

        fusions = () if whole.name == BM25 else self.fusions
        return [Fused(whole, Lexical(name=BM25), fusion) for fusion in fusions]


def measure_pairs(
    files: Mapping[str, Path], models: Models, *, splits: Sequence[str]
) -> PairReport:
    """Return how well each model, whole and shorter, tells the pairs of each file apart."""
    from corom.evaluation import evaluate_pairs

    rows = [
        row for name, encoder in models.encoders().items() for row in models.dense(name, encoder)
    ]
    return evaluate_pairs(files, rows, splits=splits)


def measure_retrieval(
    dataset: Dataset,
    models: Models,
    given: Sequence[Retriever],
    second: SecondPass | None,
    job: Callable[[list[Retriever]], Report],
) -> Report:
    """Return what `job` says of the rows of the models and the `given` ones.

    With a `second` pass each has one more, of the same hits in their new order.
    """
    from corom.evaluation import reranked

    if models.parts:
        for _ in nameable(dataset.passages()):
            pass
    encoders = models.encoders()
    with progress_bar(lambda: sum(1 for _ in dataset.passages())) as meter:
        found = models.retrievers(encoders, progress=meter.count)
        rows = [*found, *given]
        return job([*rows, *(reranked(row, second) for row in rows if second)])


def _stored(place: str, load: Callable[[str], Encoder]) -> Retriever:
    from corom.evaluation import Stored
    from corom.stores import by_kind, is_uri, open_any, parse_uri

    vectors, words = by_kind(open_any(place))
    name = parse_uri(place).shown if is_uri(place) else place
    encoder = None if vectors is None else load(vectors.spec.model)
    return Stored(name=name, vectors=vectors, words=words, encoder=encoder)
