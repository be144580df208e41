"""Models measured and compared: `corom evaluate DATASET --split NAME --model NAME`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from corom.cli import flags
from corom.cli.console import check_output, say
from corom.cli.evaluate_models import Models, measure_pairs, measure_retrieval
from corom.cli.loading import BM25, load_encoder, load_second_pass
from corom.errors import InputError
from corom.models import EMBEDDED

if TYPE_CHECKING:
    from corom.evaluation import PairReport, Report


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="The folder of a data set, or labelled pairs: a .tsv, or a folder of them.",
        ),
    ],
    split: Annotated[
        list[str] | None, typer.Option("--split", "-s", help="Repeatable; default: the only one.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Repeatable: bm25, corom-medical (embedded, the default), a folder, damo/… or "
            "iic/… (ModelScope), owner/name (Hugging Face).",
        ),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            "-i",
            help="Repeatable: an index of the data set's passages that corom index made, in a "
            "folder or at a URI; beside the models that are named.",
        ),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            help="Repeatable: what another system found for the queries of the split, a TREC or an "
            "MS MARCO run file; beside the models that are named.",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", help="Repeatable; default: MRR@10 Recall@1000 nDCG@10 MAP."),
    ] = None,
    depth: Annotated[int, typer.Option("--depth", help="Hits per query.")] = 1000,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", help="The model the others are compared with; default: the first."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the tables to this file.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw recall against k to this .png, .svg or .pdf."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Write TREC run files into this folder.")
    ] = None,
    per_query: Annotated[
        Path | None,
        typer.Option(
            "--per-query", help="Write every query's figures to this .tsv (.gz, .xz, .zst)."
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            help="Where vectors are kept, for the next time and after a kill; default: in the "
            "cache folder. Remove it when you like.",
        ),
    ] = None,
    normalize: flags.Normalize = None,
    truncate_dim: Annotated[
        list[int] | None,
        typer.Option(
            "--truncate-dim",
            help="Repeatable: one more row with only so many numbers (Matryoshka models).",
        ),
    ] = None,
    part_tokens: Annotated[
        list[int] | None,
        typer.Option(
            "--part-tokens",
            help="Repeatable: one more row in which passages are cut into parts of so many tokens "
            "at most (corom split), and the best part counts.",
        ),
    ] = None,
    fuse: Annotated[
        list[float] | None,
        typer.Option(
            "--fuse",
            help="Repeatable: one more row for each model, in which its scores count so much, 0 to "
            "1, and those of bm25 the rest (corom search --words).",
        ),
    ] = None,
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
        of_reranker = (rerank, rerank_depth is not None, rerank_share is not None)
        _refuse_for_pairs(BM25 in names, *of_reranker, *for_ranking)
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
    models = Models(names, index or [], dims, part_tokens or [], fusions, work, normalize, load)
    if files:
        outputs.write(measure_pairs(files, models, splits=split or _only(files, source)))
        return
    dataset = open_dataset(source)
    splits, measures = split or _only(dataset.splits, source), measure or DEFAULT_MEASURES
    require_measurable(dataset, splits=splits, measures=measures, depth=depth)
    if run and len(splits) > 1:
        raise InputError("--run has the queries of one split; name one --split")
    given = [Given(path, dataset.queries(splits[0]), name=name) for path, name in _named(run or [])]
    asked = partial(evaluate, dataset, splits=splits, measures=measures, depth=depth)
    job = partial(asked, against=against, runs=runs)
    second = load_second_pass(rerank, depth=rerank_depth, share=rerank_share, **on)
    outputs.write(measure_retrieval(dataset, models, given, second, job))


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


def _named(runs: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file with its row's name: its own or, if another has that too, its path."""
    names = [path.name for path in runs]
    for path in runs:
        yield path, path.name if names.count(path.name) == 1 else str(path)


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
