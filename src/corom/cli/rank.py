"""`corom rank`: passages by how well they answer a query."""

from __future__ import annotations

from typing import Annotated

import typer

from corom.cli.console import load_encoder, load_reranker, read_passages, say, say_json
from corom.cli.options import JsonOption, LengthOption, ModelOption, PrecisionOption


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
            help="Passages from a .jsonl, .csv, .tsv or .txt file, or - (a text a line).",
        ),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="Show the best K only.")] = None,
    model: ModelOption = "corom-medical",
    reranker: Annotated[
        str | None,
        typer.Option(
            "--reranker",
            metavar="MODEL",
            help="Rank with this cross-encoder (corom train reranker) instead of --model.",
        ),
    ] = None,
    precision: PrecisionOption = "auto",
    max_length: LengthOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank passages for a query.

    Best first; the score is the dot product of the vectors, or a reranker's logit.
    """
    from corom.errors import InputError
    from corom.records import Passage
    from corom.similarity import rank_passages

    if bool(passages) == (file is not None):
        raise InputError("name passages, or a file of passages with --file (one of the two)")
    if file is not None:
        candidates = list(read_passages(file))
    else:
        candidates = [Passage(str(n), text) for n, text in enumerate(passages or [], 1)]
    if reranker is not None:
        hits = load_reranker(reranker, precision=precision, max_length=max_length).rank(
            query, candidates, k=k
        )
    else:
        encoder = load_encoder(model, precision=precision, max_length=max_length)
        hits = rank_passages(encoder, query, candidates, k=k)
    texts = {passage.id: passage.content for passage in candidates}
    if as_json:
        say_json([{"id": hit.id, "score": hit.score, "text": texts[hit.id]} for hit in hits])
        return
    for rank, hit in enumerate(hits, 1):
        say(f"{rank:>3}  {hit.score:.4f}  [{hit.id}]  {texts[hit.id]}")
