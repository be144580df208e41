"""Models measured and compared: `corom evaluate DATASET --split NAME --model NAME`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from corom.cli import flags
from corom.cli.console import (
    BM25,
    check_output,
    load_encoder,
    load_splitter,
    nameable,
    progress_bar,
    say,
    second_pass,
)
from corom.cli.evaluate_options import (
    AgainstOption,
    DatasetArgument,
    DepthOption,
    FuseOption,
    GivenOption,
    IndexesOption,
    JsonFileOption,
    MarkdownOption,
    MeasuresOption,
    ModelsOption,
    PartsOption,
    PerQueryOption,
    PlotOption,
    RunsOption,
    SplitsOption,
    TruncateOption,
    WorkOption,
)
from corom.errors import InputError
from corom.models import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from corom.encoder import Encoder
    from corom.evaluation import Dense, PairReport, Report, Retriever
    from corom.readers import Dataset
    from corom.reranker import SecondPass
    from corom.search import Fusion


def command(
    source: DatasetArgument,
    split: SplitsOption = None,
    model: ModelsOption = None,
    index: IndexesOption = None,
    run: GivenOption = None,
    measure: MeasuresOption = None,
    depth: DepthOption = 1000,
    against: AgainstOption = None,
    json_file: JsonFileOption = None,
    markdown: MarkdownOption = None,
    plot: PlotOption = None,
    runs: RunsOption = None,
    per_query: PerQueryOption = None,
    work: WorkOption = None,
    normalize: flags.Normalize = None,
    truncate_dim: TruncateOption = None,
    part_tokens: PartsOption = None,
    fuse: FuseOption = None,
    rerank: flags.Rerank = None,
    rerank_depth: flags.RerankDepth = None,
    rerank_share: flags.RerankShare = None,
    engine: flags.Engine = "auto",
    precision: flags.Precision = "auto",
    device: flags.Device = "auto",
    max_length: flags.Length = None,
    threads: flags.Threads = None,
) -> None:
    """Measure models on a data set.

    Every passage is scored for every query; figures come with intervals and, from the second model
    on, with significance. Encoding goes on where a killed run stopped.
    """
    from corom.evaluation import Given, evaluate, pair_files, require_measurable
    from corom.metrics import DEFAULT_MEASURES
    from corom.readers import open_dataset
    from corom.search import Fusion

    names, files = model or ([] if index or run else [EMBEDDED]), pair_files(source)
    outputs = _Outputs(json_file, markdown, plot, per_query)
    if files:
        for_ranking = (index, run, measure, against, plot, runs, per_query, part_tokens, fuse)
        _refuse_for_pairs(BM25 in names, rerank, *for_ranking)
    for read in (source, *(run or [])):
        outputs.check(read)
    if runs is not None and any(path.resolve().parent == runs.resolve() for path in run or []):
        raise InputError(f"--run lies in {runs}, where --runs writes; name another folder")
    if part_tokens and not names:
        raise InputError("--part-tokens is for models; --index holds what it was made of")
    if fuse and not set(names) - {BM25}:
        raise InputError("--fuse is for models with vectors; name one with --model")
    fusions = [Fusion(vectors=weight) for weight in fuse or []]
    on: dict[str, Any] = {"engine": engine, "precision": precision, "device": device}
    on["threads"] = threads
    load = partial(load_encoder, max_length=max_length, **on)
    dims = [None, *(truncate_dim or [])]
    models = _Models(names, index or [], dims, part_tokens or [], fusions, work, normalize, load)
    second = second_pass(rerank, depth=rerank_depth, share=rerank_share, **on)
    if files:
        outputs.write(_measure_pairs(files, models, splits=split or _only(files, source)))
        return
    dataset = open_dataset(source)
    splits, measures = split or _only(dataset.splits, source), measure or DEFAULT_MEASURES
    require_measurable(dataset, splits=splits, measures=measures, depth=depth)
    if run and len(splits) > 1:
        raise InputError("--run has the queries of one split; name one --split")
    given = [Given(path, dataset.queries(splits[0])) for path in run or []]
    asked = partial(evaluate, dataset, splits=splits, measures=measures, depth=depth)
    job = partial(asked, against=against, runs=runs)
    outputs.write(_measure_retrieval(dataset, models, given, second, job))


class _Models(NamedTuple):
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


class _Outputs(NamedTuple):
    """The files that are asked for."""

    json_file: Path | None
    markdown: Path | None
    plot: Path | None
    per_query: Path | None

    def check(self, source: Path) -> None:
        """Raise before anything is computed if a file cannot be written or the plot drawn."""
        from corom.evaluation import require_plot

        for out in self:
            if out is not None:
                check_output(out, source)
        if self.plot is not None:
            require_plot(self.plot)

    def write(self, report: Report | PairReport) -> None:
        """Write the tables to standard output, then the files."""
        from corom.evaluation import (
            Report,
            plot_recall,
            to_json,
            to_markdown,
            to_text,
            write_per_query,
        )
        from corom.files import write_bytes, write_json

        say(to_text(report))
        if self.json_file is not None:
            write_json(self.json_file, to_json(report))
        if self.markdown is not None:
            write_bytes(self.markdown, to_markdown(report).encode())
        if isinstance(report, Report):
            if self.plot is not None:
                plot_recall(report, self.plot)
            if self.per_query is not None:
                write_per_query(report, self.per_query)


def _measure_pairs(
    files: Mapping[str, Path], models: _Models, *, splits: Sequence[str]
) -> PairReport:
    from corom.evaluation import evaluate_pairs

    rows = [
        row for name, encoder in models.encoders().items() for row in models.dense(name, encoder)
    ]
    return evaluate_pairs(files, rows, splits=splits)


def _measure_retrieval(
    dataset: Dataset,
    models: _Models,
    given: Sequence[Retriever],
    second: Callable[[], SecondPass] | None,
    job: Callable[[list[Retriever]], Report],
) -> Report:
    from corom.encoder import Progress
    from corom.evaluation import reranked

    if models.parts:
        for _ in nameable(dataset.passages()):
            pass
    encoders = models.encoders()
    reads = None if second is None else second()
    with progress_bar(lambda: sum(1 for _ in dataset.passages())) as meter:
        found = models.retrievers(encoders, progress=lambda done: meter(Progress(done, 0, 0)))
        rows = [*found, *given]
        return job([*rows, *(reranked(row, reads) for row in rows if reads)])


def _stored(place: str, load: Callable[[str], Encoder]) -> Retriever:
    from corom.evaluation import Stored
    from corom.stores import by_kind, is_uri, open_any, parse_uri

    vectors, words = by_kind(open_any(place))
    name = parse_uri(place).shown if is_uri(place) else place
    encoder = None if vectors is None else load(vectors.spec.model)
    return Stored(name=name, vectors=vectors, words=words, encoder=encoder)


def _refuse_for_pairs(*given: object) -> None:
    if any(given):
        raise InputError(
            "pairs of texts have AUC and Spearman only: leave out bm25, --index, --measure, "
            "--against, --plot, --run, --runs, --per-query, --rerank, --part-tokens and --fuse"
        )


def _only(splits: Iterable[str], source: Path) -> list[str]:
    found = list(splits)
    if len(found) != 1:
        raise InputError(f"name a --split of {source}; it has: {', '.join(found) or 'none'}")
    return found
