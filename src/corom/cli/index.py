"""`corom index`: a corpus to a folder that `corom search` and `corom serve` read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corom.cli import flags
from corom.cli.console import STDIN
from corom.cli.index_job import IndexJob, index_shards
from corom.cli.loading import BM25, load_encoder, load_splitter
from corom.cli.texts import Texts, nameable
from corom.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from corom.encoder import Encoder
    from corom.index.spec import Options, Precision
    from corom.records import Passage


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CORPUS",
            help="Passages: a .jsonl, .csv, .xlsx, .tsv or .txt file (plain, .gz, .xz, .zst), the "
            "folder of a data set, or a folder of shards that corom encode made: nothing is "
            "encoded then.",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="The folder of the index, or a server: milvus://HOST:PORT/NAME, milvus:///FILE.db "
            "or postgresql://USER@HOST:PORT/DATABASE/NAME.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="bm25 for an index of words (extra lexical); else as everywhere: a folder, "
            "corom-medical (embedded), damo/… or iic/… (ModelScope), owner/name (Hugging Face).",
        ),
    ] = "corom-medical",
    text: flags.Text = None,
    id_: flags.Id = None,
    title: flags.Title = None,
    encoding: flags.Encoding = "utf-8",
    no_header: flags.NoHeader = False,
    skip_bad: flags.SkipBad = False,
    kind: Annotated[
        Literal["exact", "hnsw", "ivfpq"],
        typer.Option("--kind", help="How vectors are searched; the last two: extra index."),
    ] = "exact",
    scan: Annotated[
        Literal["fp32", "bf16", "int8", "binary"],
        typer.Option(
            "--scan", help="What exact search reads first; the best are scored in fp32 again."
        ),
    ] = "fp32",
    store: Annotated[
        Literal["float32", "float16"],
        typer.Option("--store", help="How vectors are kept; float16 takes half the room."),
    ] = "float32",
    part_tokens: Annotated[
        int | None,
        typer.Option(
            "--part-tokens",
            help="Cut texts into parts of so many tokens at most (corom split); a search then "
            "finds each text by its best part.",
        ),
    ] = None,
    whole_share: Annotated[
        float,
        typer.Option(
            "--whole-share",
            help="With --part-tokens: how much of the whole text's vector each part's has, 0 to "
            "below 1; 0.5 where some texts are answers and some long.",
        ),
    ] = 0.0,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="COLUMN,…",
            help="Columns of a .csv, .xlsx or .jsonl to keep beside id, title and text: hits show "
            "them, and corom search --where filters by them. No other is written.",
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="If the index is finished, make it what the corpus is now: encode what is new or "
            "changed, remove what is gone. Everyone sees the old one meanwhile.",
        ),
    ] = False,
    erase: Annotated[
        bool,
        typer.Option(
            "--erase",
            help="With --update: leave nothing of removed texts in the folder; writes the whole "
            "index again.",
        ),
    ] = False,
    dim: flags.Dim = None,
    normalize: flags.Normalize = None,
    engine: flags.Engine = "auto",
    precision: flags.Precision = "auto",
    device: flags.Device = "auto",
    max_length: flags.Length = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
) -> None:
    """Make an index of a corpus.

    Killed, the same command goes on where it stopped; an index that is finished is left as it is,
    unless it is to be updated.
    """
    from corom.index import BM25Options, IndexSpec
    from corom.readers import Layout
    from corom.sharding.folder import holds_vectors

    options, columns = _options(kind, scan), _columns(keep, to)
    layout = Layout(
        text=text, id=id_, title=title, encoding=encoding, header=not no_header, keep=columns
    )
    texts = Texts(str(source), layout, skip_bad=skip_bad)
    if str(source) == STDIN:
        raise InputError("a corpus is read twice, standard input only once; write it to a file")
    if erase and not update:
        raise InputError("--erase belongs to --update")
    if whole_share and (part_tokens is None or model == BM25):
        raise InputError("--whole-share belongs to --part-tokens, and to vectors")
    if holds_vectors(source):
        texts.refuse(source)
        _refuse_for_shards(
            {
                "--model bm25": model == BM25,
                "--part-tokens": part_tokens is not None,
                "--update": update,
                "--dim": dim is not None,
                "--normalize": normalize is not None,
                "--max-length": max_length is not None,
            }
        )
        index_shards(source, to, options, store=store, as_json=as_json)
        return
    cut = part_tokens or 0
    encoder = None
    spec = IndexSpec(options=BM25Options(), model=BM25, part_tokens=cut, keep=columns)
    if model != BM25:
        encoder = load_encoder(
            model,
            engine=engine,
            precision=precision,
            device=device,
            max_length=max_length,
            threads=threads,
        )
        spec = IndexSpec.for_encoder(
            encoder,
            options,
            dim=_dim(encoder, dim, model=model),
            normalized=encoder.encoding.normalize if normalize is None else normalize,
            vector_type=store,
            part_tokens=cut,
            whole_share=whole_share,
            keep=columns,
        )
    splitter = None
    if part_tokens is not None:
        reads = None if encoder is None else encoder.max_length
        splitter = load_splitter(model, part_tokens=part_tokens, reads=reads)

    def read() -> Iterator[Passage]:
        passages = texts.passages()
        return passages if splitter is None else nameable(passages)

    job = IndexJob(to, spec, read, encoder, splitter, as_json)
    if update and job.is_finished():
        job.update(erase=erase)
    else:
        job.build()


def _columns(keep: str | None, to: str) -> tuple[str, ...]:
    from corom.index.spec import check_columns
    from corom.stores import is_uri

    if keep is None:
        return ()
    if is_uri(to):
        raise InputError("--keep is for an index in a folder; a server's keeps no columns")
    columns = tuple(name.strip() for name in keep.split(","))
    check_columns(columns)
    return columns


def _dim(encoder: Encoder, dim: int | None, *, model: str) -> int:
    if dim is not None and dim > encoder.dim:
        raise InputError(f"--dim {dim} is more than the {encoder.dim} numbers of {model}")
    return encoder.dim if dim is None else dim


def _options(kind: str, scan: Precision) -> Options:
    from corom.index import ExactOptions, HnswOptions, IvfPqOptions

    if scan != "fp32" and kind != "exact":
        raise InputError("--scan belongs to --kind exact")
    kinds: dict[str, Options] = {"hnsw": HnswOptions(), "ivfpq": IvfPqOptions()}
    return kinds.get(kind, ExactOptions(precision=scan))


def _refuse_for_shards(given: dict[str, bool]) -> None:
    if flag := next((flag for flag, is_given in given.items() if is_given), None):
        raise InputError(f"{flag} is for texts, not for shards of vectors; name their corpus")
