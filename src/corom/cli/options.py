"""Flags that several verbs share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

EngineName: TypeAlias = Literal["auto", "native", "openvino", "torch"]
Encoding: TypeAlias = Literal["utf-8", "gb18030"]
Precision: TypeAlias = Literal["auto", "int8", "bf16", "fp16", "fp32"]

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A folder, corom-medical (embedded), damo/… or iic/… (ModelScope), owner/name "
        "(Hugging Face).",
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="What computes; auto: torch for --device cuda, for int8 corom's own kernels "
        "(native) where they are the fastest, else openvino.",
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision", help="auto: int8 where it is proven faithful, else bf16 or fp32 by the chip."
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="cpu, cuda, cuda:1 or cuda:0,cuda:1; auto: the cpu, and with --engine torch a GPU "
        "where there is one.",
    ),
]
LengthOption = Annotated[
    int | None,
    typer.Option("--max-length", help="Tokens a text is cut to, 2 to 512; default: the model's."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Processor threads; default: all.")
]
TextOption = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="COLUMN",
        help="Of a .csv or .xlsx: which column holds the texts, by its name in the first row or "
        "its number from 1; of a .jsonl: which field; default: text.",
    ),
]
IdOption = Annotated[
    str | None,
    typer.Option(
        "--id", metavar="COLUMN", help="The same for ids; default: id, else rows are numbered."
    ),
]
TitleOption = Annotated[
    str | None,
    typer.Option(
        "--title",
        metavar="COLUMN",
        help="The same for titles, which are read before the texts; default: title, if any.",
    ),
]
EncodingOption = Annotated[
    Encoding,
    typer.Option(
        "--encoding", help="Of a file of texts; gb18030 reads GBK, a Chinese Excel's plain csv."
    ),
]
NoHeaderOption = Annotated[
    bool,
    typer.Option(
        "--no-header",
        help="Of a .csv or .xlsx: the first row is a text, too; columns go by number only.",
    ),
]
SkipBadOption = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Leave out what cannot be read, such as rows without a text, and say how many for "
        "which reason; else the first stops the command.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
NormalizeOption = Annotated[
    bool | None,
    typer.Option("--normalize/--no-normalize", help="To length 1; default: as the model."),
]
DimOption = Annotated[
    int | None, typer.Option("--dim", help="Keep the first DIM numbers (Matryoshka models).")
]
RerankOption = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="MODEL",
        help="A reranker that reads the first hits with the query (corom train reranker).",
    ),
]
RerankDepthOption = Annotated[
    int | None, typer.Option("--rerank-depth", help="Hits that the reranker reads; default 50.")
]
RerankShareOption = Annotated[
    float | None,
    typer.Option(
        "--rerank-share",
        help="What the reranker's scores count, above 0 to 1, default 0.5; the model's the rest.",
    ),
]
