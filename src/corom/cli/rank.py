"""`corom rank`: passages by how well they answer a query."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from corom.cli import flags
from corom.cli.console import in_one_line, say, say_json
from corom.cli.loading import load_encoder, load_reranker
from corom.cli.texts import Texts
from corom.errors import InputError


def command(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is asked.")],
    passages: Annotated[
        list[str] | None, typer.Argument(metavar="[PASSAGE]...", help="Texts to rank.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            help="Passages from a .jsonl, .csv, .xlsx, .tsv or .txt file, or - (a text a line).",
        ),
    ] = None,
    text: flags.Text = None,
    id_: flags.Id = None,
    title: flags.Title = None,
    encoding: flags.Encoding = "utf-8",
    no_header: flags.NoHeader = False,
    skip_bad: flags.SkipBad = False,
    k: Annotated[int | None, typer.Option("-k", help="Show the best K only.")] = None,
    model: flags.Model = "corom-medical",
    reranker: Annotated[
        str | None,
        typer.Option(
            "--reranker",
            metavar="MODEL",
            help="A cross-encoder (corom train reranker) that reads every passage with the query.",
        ),
    ] = None,
    rerank_share: flags.RerankShare = None,
    precision: flags.Precision = "auto",
    max_length: flags.Length = None,
    as_json: flags.Json = False,
) -> None:
    """Rank passages for a query.

    Best first; the score is the dot product of the vectors. With a reranker both scores count, each
    stretched to 0..1 over the passages; with --rerank-share 1 the score is its logit alone.
    """
    from corom.ranking import rank_hits
    from corom.readers import Layout
    from corom.records import Passage
    from corom.similarity import rank_passages

    if bool(passages) == (file is not None):
        raise InputError("name passages, or a file of passages with --file (one of the two)")
    layout = Layout(text=text, id=id_, title=title, encoding=encoding, header=not no_header)
    candidates = list(Texts(file, layout, skip_bad=skip_bad).passages())
    if file is None:
        candidates = [Passage(str(n), text) for n, text in enumerate(passages or [], 1)]
    if reranker is None and rerank_share is not None:
        raise InputError("--rerank-share belongs to --reranker")
    texts = {passage.id: passage.content for passage in candidates}
    load: dict[str, Any] = {"precision": precision, "max_length": max_length}
    if reranker is None:
        hits = rank_passages(load_encoder(model, **load), query, candidates, k=k)
    elif rerank_share == 1:
        hits = load_reranker(reranker, **load).rank(query, candidates, k=k)
    else:
        from corom.reranker import SecondPass

        share = SecondPass.share if rerank_share is None else rerank_share
        reads, all_ = load_reranker(reranker, **load), max(1, len(candidates))
        second = SecondPass(reranker=reads, depth=all_, share=share)
        first = rank_passages(load_encoder(model, **load), query, candidates)
        read = second.reorder([query], [first], texts=lambda ids: [texts[id_] for id_ in ids])
        hits = rank_hits(read[0], k)
    if as_json:
        say_json([{"id": hit.id, "score": hit.score, "text": texts[hit.id]} for hit in hits])
        return
    for rank, hit in enumerate(hits, 1):
        say(f"{rank:>3}  {hit.score:.4f}  [{hit.id}]  {in_one_line(texts[hit.id])}")
