"""`corom search`: queries to an index, passages with what answers in them marked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corom.cli import flags
from corom.cli.console import say_json
from corom.cli.hits import show_hits
from corom.cli.loading import load_encoder, load_second_pass
from corom.cli.texts import Texts, stdin_text
from corom.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.records import Query
    from corom.reranker import SecondPass
    from corom.search import Fusion, Searcher
    from corom.stores import Store, WordStore

_AT_ONCE = 256


def command(
    index: Annotated[
        str,
        typer.Option(
            "--index",
            "-i",
            help="What corom index made: a folder, milvus://HOST:PORT/NAME, milvus:///FILE.db or "
            "postgresql://USER@HOST:PORT/DATABASE/NAME.",
        ),
    ],
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="[QUERY]...", help="None, and no --file: they are asked for."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            help="Queries from a .jsonl, .csv, .xlsx, .tsv or .txt file, or - (one a line).",
        ),
    ] = None,
    text: flags.Text = None,
    id_: flags.Id = None,
    encoding: flags.Encoding = "utf-8",
    no_header: flags.NoHeader = False,
    skip_bad: flags.SkipBad = False,
    k: Annotated[int, typer.Option("-k", help="Passages for each query.")] = 10,
    by_document: Annotated[
        bool | None,
        typer.Option(
            "--by-document/--every-part",
            help="Of passages that are parts of one text (corom split) only the best; default: if "
            "the index was made with --part-tokens.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FILTER",
            help="Only passages whose kept column (corom index --keep) is one of some values, "
            "'department=儿科,内科', or within bounds, compared as text: 'date>=2025-03-01'. "
            "Several must all hold.",
        ),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option("--words", help="An index of words besides: the two rankings become one."),
    ] = None,
    fusion: Annotated[
        Literal["rrf", "weighted"] | None,
        typer.Option(
            "--fusion",
            help="With --words: by weighted scores (the default), or by reciprocal rank (rrf).",
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            "--weight",
            help="With --words, by weighted scores: what the vectors count, 0 to 1; default 0.8.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Where the model is now; default: what the index says."),
    ] = None,
    rerank: flags.Rerank = None,
    rerank_depth: flags.RerankDepth = None,
    rerank_share: flags.RerankShare = None,
    precision: flags.Precision = "auto",
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="As given to corom index, if it was.")
    ] = None,
    threads: flags.Threads = None,
    deadline: Annotated[
        float, typer.Option("--deadline", help="Seconds a server may take to answer.")
    ] = 30.0,
    as_json: flags.Json = False,
) -> None:
    """Find passages in an index.

    On a screen the words a passage shares with the query are bold, the sentence that answers best
    is underlined. With --json there is a line for each query: the list of its hits, or, with
    --file, an object of query_id and hits.
    """
    from corom.index import parse_where
    from corom.readers import Layout
    from corom.records import Query
    from corom.search import Fusion
    from corom.stores import open_any

    _check_flags(queries or [], file, words=words, fusion=fusion, weight=weight)
    filters = list(map(parse_where, where or []))
    layout = Layout(text=text, id=id_, encoding=encoding, header=not no_header)
    texts = Texts(file, layout, skip_bad=skip_bad)
    on: dict[str, Any] = {"precision": precision, "threads": threads}
    load = partial(load_encoder, max_length=max_length, **on)
    second = load_second_pass(rerank, depth=rerank_depth, share=rerank_share, **on)
    both = None
    if words is not None:
        counts = Fusion.vectors if weight is None else weight
        both = Fusion(method=fusion or Fusion.method, vectors=counts)
    opened = partial(open_any, deadline=deadline)
    searcher, encoder = _opened(
        index, words, opened, model=model, load=load, fusion=both, second=second
    )
    if filters:
        searcher = searcher.only(filters)
    asked = iter([Query("", text) for text in queries or []])
    if file is not None:
        asked = texts.queries()
    elif not queries:
        asked = _ask()
    # One at a time where someone waits for the answer.
    at_once = _AT_ONCE if queries or file else 1
    while part := list(islice(asked, at_once)):
        found = searcher.search([q.text for q in part], k, by_document=by_document)
        for query, hits in zip(part, found, strict=True):
            if as_json:
                listed = [hit._asdict() for hit in hits]
                say_json(listed if file is None else {"query_id": query.id, "hits": listed})
            else:
                show_hits(query, hits, encoder)


def _check_flags(
    queries: list[str],
    file: str | None,
    *,
    words: str | None,
    fusion: str | None,
    weight: float | None,
) -> None:
    """Raise InputError for flags that do not belong together, and for an empty query."""
    if queries and file is not None:
        raise InputError("give queries, or a file of queries with --file (one of the two)")
    if words is None and (fusion is not None or weight is not None):
        raise InputError("--fusion and --weight belong to --words")
    if weight is not None and fusion == "rrf":
        raise InputError("--weight belongs to --fusion weighted")
    if not all(text.strip() for text in queries):
        raise InputError("a query is empty; ask something")


def _opened(
    index: str,
    words: str | None,
    open_: Callable[[str], Store | WordStore],
    *,
    model: str | None,
    load: Callable[[str], Encoder],
    fusion: Fusion | None,
    second: SecondPass | None,
) -> tuple[Searcher, Encoder | None]:
    """Return what searches one index or two, and the encoder of its queries if it has vectors."""
    from corom.search import Searcher
    from corom.stores import by_kind

    vectors, lexical = by_kind(open_(index))
    if words is not None:
        _, lexical = by_kind(open_(words))
        if vectors is None:
            raise InputError(f"{index} is an index of words itself; --words needs one of vectors")
        if lexical is None:
            raise InputError(f"{words} is not an index of words; make one with --model bm25")
    encoder = None if vectors is None else _encoder_of(vectors, model, load)
    searcher = Searcher(vectors, encoder=encoder, words=lexical, fusion=fusion, second=second)
    return searcher, encoder


def _encoder_of(vectors: Store, model: str | None, load: Callable[[str], Encoder]) -> Encoder:
    """Return the encoder of an index; who moved its model is told of --model."""
    try:
        return load(model or vectors.spec.model)
    except ArtifactError as error:
        if model is not None:
            raise
        raise ArtifactError(f"{error}; --model says where the model of the index is now") from None


def _ask() -> Iterator[Query]:
    """Yield the lines of standard input, with a prompt if someone types them."""
    from corom.records import Query

    number = 0
    while True:
        if sys.stdin.isatty():
            typer.echo("? ", nl=False, err=True)
        number += 1
        if (line := stdin_text(number)) is None:
            return
        if line.strip():
            yield Query("", line.strip())
