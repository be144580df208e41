"""Models measured and compared: `corom evaluate DATASET --split NAME --model NAME`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corom.cli.console import (
    DeviceOption,
    EngineOption,
    LengthOption,
    PrecisionOption,
    ThreadsOption,
    load_encoder,
    progress_bar,
    say,
)
from corom.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from corom.encoder import Encoder
    from corom.evaluation import Dense, PairReport, Report, Retriever

BM25 = "bm25"


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="The folder of a data set, or labelled pairs: a .tsv, or a folder of them.",
        ),
    ],
    split: Annotated[
        list[str] | None,
        typer.Option("--split", "-s", help="Repeatable; default: the only one."),
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
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            help="Where vectors are kept, for the next time and after a kill; default: in the "
            "cache folder. Remove it when you like.",
        ),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option("--normalize/--no-normalize", help="To length 1; default: as the model."),
    ] = None,
    truncate_dim: Annotated[
        list[int] | None,
        typer.Option(
            "--truncate-dim",
            help="Repeatable: one more row with only so many numbers (Matryoshka models).",
        ),
    ] = None,
    engine: EngineOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    max_length: LengthOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure models on a data set.

    Every passage is scored for every query; figures come with intervals and, from the second model
    on, with significance. Encoding goes on where a killed run stopped.
    """
    from corom.encoder import Progress
    from corom.environment import cache_folder
    from corom.evaluation import Dense, evaluate, evaluate_pairs, pair_files, require_plot
    from corom.metrics import DEFAULT_MEASURES
    from corom.readers import open_dataset

    names, files = model or ([] if index else ["corom-medical"]), pair_files(source)
    if files:
        _refuse_for_pairs(BM25 in names, index, measure, against, plot, runs)
    if plot is not None:
        require_plot(plot)
    dataset = None if files else open_dataset(source)
    splits = split or _only(list(files) if dataset is None else dataset.splits, source)
    load = partial(
        load_encoder,
        engine=engine,
        precision=precision,
        device=device,
        max_length=max_length,
        threads=threads,
    )
    encoders = {name: load(name) for name in names if name != BM25}
    with progress_bar(None if dataset is None else sum(1 for _ in dataset.passages())) as meter:
        make = partial(
            Dense,
            work=work or cache_folder() / "evaluate",
            normalize=normalize,
            progress=lambda done: meter(Progress(done, 0, 0)),
        )
        rows = _rows(names, encoders, make, dims=(None, *(truncate_dim or ())))
        rows += [_stored(place, load) for place in index or ()]
        report = (
            evaluate_pairs(files, [row for row in rows if isinstance(row, Dense)], splits=splits)
            if dataset is None
            else evaluate(
                dataset,
                rows,
                splits=splits,
                measures=measure or DEFAULT_MEASURES,
                depth=depth,
                against=against,
                runs=runs,
            )
        )
    _write(report, json_file=json_file, markdown=markdown, plot=plot)


def _rows(
    names: Sequence[str],
    encoders: Mapping[str, Encoder],
    make: Callable[..., Dense],
    *,
    dims: Sequence[int | None],
) -> list[Retriever]:
    from corom.evaluation import Lexical

    rows: list[Retriever] = []
    for name in names:
        if name == BM25:
            rows.append(Lexical(name=BM25))
            continue
        for dim in dims:
            label = name if dim is None else f"{name}@{dim}"
            rows.append(make(encoders[name], name=label, truncate_dim=dim))
    return rows


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
            "--against, --plot and --runs"
        )


def _only(splits: Sequence[str], source: Path) -> list[str]:
    if len(splits) != 1:
        raise InputError(f"name a --split of {source}; it has: {', '.join(splits) or 'none'}")
    return list(splits)


def _write(
    report: Report | PairReport, *, json_file: Path | None, markdown: Path | None, plot: Path | None
) -> None:
    from corom.evaluation import Report, plot_recall, to_json, to_markdown, to_text
    from corom.files import write_bytes, write_json

    if json_file is not None:
        write_json(json_file, to_json(report))
    if markdown is not None:
        write_bytes(markdown, to_markdown(report).encode())
    if plot is not None and isinstance(report, Report):
        plot_recall(report, plot)
    say(to_text(report))
