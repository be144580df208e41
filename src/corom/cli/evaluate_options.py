"""The flags of `corom evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="The folder of a data set, or labelled pairs: a .tsv, or a folder of them.",
    ),
]
SplitsOption = Annotated[
    list[str] | None, typer.Option("--split", "-s", help="Repeatable; default: the only one.")
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="Repeatable: bm25, corom-medical (embedded, the default), a folder, damo/… or "
        "iic/… (ModelScope), owner/name (Hugging Face).",
    ),
]
IndexesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--index",
        "-i",
        help="Repeatable: an index of the data set's passages that corom index made, in a "
        "folder or at a URI; beside the models that are named.",
    ),
]
GivenOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--run",
        help="Repeatable: what another system found for the queries of the split, a TREC or an "
        "MS MARCO run file; beside the models that are named.",
    ),
]
MeasuresOption = Annotated[
    list[str] | None,
    typer.Option("--measure", help="Repeatable; default: MRR@10 Recall@1000 nDCG@10 MAP."),
]
DepthOption = Annotated[int, typer.Option("--depth", help="Hits per query.")]
AgainstOption = Annotated[
    str | None,
    typer.Option("--against", help="The model the others are compared with; default: the first."),
]
TruncateOption = Annotated[
    list[int] | None,
    typer.Option(
        "--truncate-dim",
        help="Repeatable: one more row with only so many numbers (Matryoshka models).",
    ),
]
PartsOption = Annotated[
    list[int] | None,
    typer.Option(
        "--part-tokens",
        help="Repeatable: one more row in which passages are cut into parts of so many tokens at "
        "most (corom split), and the best part counts.",
    ),
]
FuseOption = Annotated[
    list[float] | None,
    typer.Option(
        "--fuse",
        help="Repeatable: one more row for each model, in which its scores count so much, 0 to 1, "
        "and those of bm25 the rest (corom search --words).",
    ),
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work",
        help="Where vectors are kept, for the next time and after a kill; default: in the "
        "cache folder. Remove it when you like.",
    ),
]
JsonFileOption = Annotated[
    Path | None, typer.Option("--json", help="Write the figures to this file.")
]
MarkdownOption = Annotated[
    Path | None, typer.Option("--markdown", help="Write the tables to this file.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Draw recall against k to this .png, .svg or .pdf.")
]
RunsOption = Annotated[
    Path | None, typer.Option("--runs", help="Write TREC run files into this folder.")
]
PerQueryOption = Annotated[
    Path | None,
    typer.Option("--per-query", help="Write every query's figures to this .tsv (.gz, .xz, .zst)."),
]
