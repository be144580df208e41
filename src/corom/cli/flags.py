"""Flags that several verbs share: `text: flags.Text = None`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A folder, corom-medical (embedded), damo/… or iic/… (ModelScope), owner/name "
        "(Hugging Face).",
    ),
]
Engine = Annotated[
    Literal["auto", "native", "openvino", "torch"],
    typer.Option(
        "--engine",
        help="What computes; auto: torch for --device cuda, for int8 corom's own kernels "
        "(native) where they are the fastest, else openvino.",
    ),
]
Precision = Annotated[
    Literal["auto", "int8", "bf16", "fp16", "fp32"],
    typer.Option(
        "--precision",
        help="auto: int8 where it is proven faithful and the chip is made for it, else bf16 or "
        "fp32.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="cpu, cuda, cuda:1 or cuda:0,cuda:1; auto: the cpu, and with --engine torch a GPU "
        "where there is one.",
    ),
]
Length = Annotated[
    int | None,
    typer.Option("--max-length", help="Tokens a text is cut to, 2 to 512; default: the model's."),
]
Threads = Annotated[int | None, typer.Option("--threads", help="Processor threads; default: all.")]
# Of a file of texts.
Text = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="COLUMN",
        help="Of a .csv or .xlsx: which column holds the texts, by its name in the first row or "
        "its number from 1; of a .jsonl: which field; default: text.",
    ),
]
Id = Annotated[
    str | None,
    typer.Option(
        "--id", metavar="COLUMN", help="The same for ids; default: id, else rows are numbered."
    ),
]
Title = Annotated[
    str | None,
    typer.Option(
        "--title",
        metavar="COLUMN",
        help="The same for titles, which are read before the texts; default: title, if any.",
    ),
]
Encoding = Annotated[
    Literal["utf-8", "gb18030"],
    typer.Option(
        "--encoding", help="Of a file of texts; gb18030 reads GBK, a Chinese Excel's plain csv."
    ),
]
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header",
        help="Of a .csv or .xlsx: the first row is a text, too; columns go by number only.",
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Leave out what cannot be read, such as rows without a text, and say how many for "
        "which reason; else the first stops the command.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Normalize = Annotated[
    bool | None,
    typer.Option("--normalize/--no-normalize", help="To length 1; default: as the model."),
]
Dim = Annotated[
    int | None, typer.Option("--dim", help="Keep the first DIM numbers (Matryoshka models).")
]
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="MODEL",
        help="A reranker that reads the first hits with the query (corom train reranker).",
    ),
]
RerankDepth = Annotated[
    int | None, typer.Option("--rerank-depth", help="Hits that the reranker reads; default 50.")
]
RerankShare = Annotated[
    float | None,
    typer.Option(
        "--rerank-share",
        help="What the reranker's scores count, above 0 to 1, default 0.5; the model's the rest.",
    ),
]
# Of the verbs that train, and of those that prepare records for them.
Settings = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SETTINGS]", help="A .toml file; docs/training.md lists what it may hold."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Repeatable: KEY=VALUE instead of what the file says."),
]
StartFrom = Annotated[
    str | None, typer.Option("--model", "-m", help="The setting model: what training starts from.")
]
RunFolder = Annotated[
    Path | None, typer.Option("--output", "-o", help="The setting output: the folder of the run.")
]
Records = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        "-d",
        help="Repeatable, the setting data: groups or pairs (.jsonl, plain or packed), or the "
        "folder of a data set.",
    ),
]
RecordsFolder = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The setting output: a folder, a .jsonl per input."),
]
