"""`corom search`: queries to an index, passages with what answers in them marked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corom.cli import flags
from corom.cli.console import say, say_json
from corom.cli.loading import load_encoder, load_second_pass
from corom.cli.texts import Texts, stdin_text
from corom.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.highlight import Snippet
    from corom.records import Query
    from corom.reranker import SecondPass
    from corom.search import FoundPassage, Fusion, Searcher
    from corom.stores import Store, WordStore

_AT_ONCE, _SHOWN = 256, 160


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
    opened = partial(open_any, deadline=deadline)
    if words is None:
        searcher, encoder = _one(opened(index), model=model, load=load, second=second)
    else:
        counts = Fusion.vectors if weight is None else weight
        both = Fusion(method=fusion or Fusion.method, vectors=counts)
        searcher, encoder = _both(
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
                _show(query, hits, encoder)


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


def _one(
    index: Store | WordStore,
    *,
    model: str | None,
    load: Callable[[str], Encoder],
    second: SecondPass | None,
) -> tuple[Searcher, Encoder | None]:
    """Return what searches one index, and the encoder of its queries if it is one of vectors."""
    from corom.search import Searcher
    from corom.stores import by_kind

    vectors, words = by_kind(index)
    if vectors is None:
        return Searcher(words=words, second=second), None
    encoder = _encoder_of(vectors, model, load)
    return Searcher(vectors, encoder=encoder, second=second), encoder


def _both(
    index: str,
    words: str,
    opened: Callable[[str], Store | WordStore],
    *,
    model: str | None,
    load: Callable[[str], Encoder],
    fusion: Fusion,
    second: SecondPass | None,
) -> tuple[Searcher, Encoder]:
    """Return what searches an index of vectors and one of words, and the encoder."""
    from corom.search import Searcher
    from corom.stores import by_kind

    vectors, _ = by_kind(opened(index))
    _, lexical = by_kind(opened(words))
    if vectors is None:
        raise InputError(f"{index} is an index of words itself; --words needs one of vectors")
    if lexical is None:
        raise InputError(f"{words} is not an index of words; make one with --model bm25")
    encoder = _encoder_of(vectors, model, load)
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


def _show(query: Query, hits: list[FoundPassage], encoder: Encoder | None) -> None:
    from corom.highlight import snippet

    say(f"\n{query.id}  {query.text}" if query.id else f"\n{query.text}")
    if not hits:
        say("  nothing found")
    scores = _sentence_scores(query, hits, encoder)
    for rank, (hit, of_hit) in enumerate(zip(hits, scores, strict=True), 1):
        part = snippet(query.text, hit.text, max_chars=_SHOWN, sentence_scores=of_hit)
        title = f"{hit.title}  " if hit.title else ""
        say(f"{rank:>3}  {hit.score:.4f}  [{hit.id}]  {title}{_marked(hit.text, part)}")
        if hit.fields:
            say(f"     {_dim('  '.join(map(' '.join, hit.fields.items())))}")


def _sentence_scores(
    query: Query, hits: list[FoundPassage], encoder: Encoder | None
) -> list[list[float] | None]:
    """Return how well each sentence of each hit answers, by vectors if there is an encoder.

    Of a long text only the first sentences are read.
    """
    from corom.highlight import MAX_SENTENCES, sentences

    if encoder is None:
        return [None] * len(hits)
    spans = [sentences(hit.text) for hit in hits]
    read = [
        [hit.text[span.start : span.end] for span in own[:MAX_SENTENCES]]
        for hit, own in zip(hits, spans, strict=True)
    ]
    vectors = encoder.encode_passages((part for each in read for part in each), normalize=True)
    scores = iter((vectors @ encoder.encode_queries([query.text])[0]).tolist())
    return [
        [*islice(scores, len(each)), *[-inf] * (len(own) - len(each))]
        for each, own in zip(read, spans, strict=True)
    ]


def _dim(text: str) -> str:
    """Return the text in one line, dim if this is a screen."""
    line = " ".join(text.splitlines())
    return typer.style(line, dim=True) if sys.stdout.isatty() else line


def _marked(text: str, part: Snippet) -> str:
    """Return the part of `text` to show, in one line, marked if this is a screen."""
    marks: list[set[str]] = [set() for _ in text]
    for span in part.spans:
        for place in range(span.start, span.end):
            marks[place].add(span.kind)
    pieces = ["…" if part.start else ""]
    shown = range(part.start, part.end)
    for kinds, places in groupby(shown, key=lambda place: marks[place]):
        piece = " ".join("".join(text[place] for place in places).splitlines())
        if kinds and sys.stdout.isatty():
            piece = typer.style(piece, bold="word" in kinds, underline="sentence" in kinds)
        pieces.append(piece)
    return "".join(pieces) + ("…" if part.end < len(text) else "")
