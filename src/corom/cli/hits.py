"""Hits as people read them: a line each, with what answers marked on a screen."""

from __future__ import annotations

import sys
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

import typer

from corom.cli.console import in_one_line, say

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.highlight import Snippet
    from corom.records import Query
    from corom.search import FoundPassage

_SHOWN = 160


def show_hits(query: Query, hits: list[FoundPassage], encoder: Encoder | None) -> None:
    """Print a query and its hits; on a screen the words they share with it are bold.

    The sentence that answers best is underlined; which it is the `encoder` says, if there is one.
    """
    from corom.highlight import snippet

    asked = in_one_line(query.text)
    say(f"\n{query.id}  {asked}" if query.id else f"\n{asked}")
    if not hits:
        say("  nothing found")
    scores = _sentence_scores(query, hits, encoder)
    for rank, (hit, of_hit) in enumerate(zip(hits, scores, strict=True), 1):
        part = snippet(query.text, hit.text, max_chars=_SHOWN, sentence_scores=of_hit)
        title = f"{in_one_line(hit.title)}  " if hit.title else ""
        say(f"{rank:>3}  {hit.score:.4f}  [{hit.id}]  {title}{_marked(hit.text, part)}")
        if hit.fields:
            say(f"     {_dim('  '.join(map(' '.join, hit.fields.items())))}")


def _sentence_scores(
    query: Query, hits: list[FoundPassage], encoder: Encoder | None
) -> list[list[float] | None]:
    """Return how well the first sentences of each hit answer, by vectors if there is an encoder."""
    from corom.highlight import first_sentences

    if encoder is None:
        return [None] * len(hits)
    read = [first_sentences(hit.text) for hit in hits]
    vectors = encoder.encode_passages(chain.from_iterable(read), normalize=True)
    scores = iter((vectors @ encoder.encode_queries([query.text])[0]).tolist())
    return [list(islice(scores, len(each))) for each in read]


def _dim(text: str) -> str:
    """Return the text in one line, dim if this is a screen."""
    line = " ".join(text.splitlines())
    return typer.style(line, dim=True) if sys.stdout.isatty() else line


def _marked(text: str, part: Snippet) -> str:
    """Return the part of `text` to show, in one line, marked if this is a screen."""

    def kinds_at(place: int) -> set[str]:
        return {span.kind for span in part.spans if span.start <= place < span.end}

    pieces = ["…" if part.start else ""]
    for kinds, places in groupby(range(part.start, part.end), key=kinds_at):
        piece = "".join(" " if text[at].isspace() else text[at] for at in places)
        if kinds and sys.stdout.isatty():
            piece = typer.style(piece, bold="word" in kinds, underline="sentence" in kinds)
        pieces.append(piece)
    return "".join(pieces) + ("…" if part.end < len(text) else "")
