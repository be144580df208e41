"""`corom similarity`: texts scored with each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from corom.cli.console import load_encoder, note, read_passages, say, say_json
from corom.cli.options import (
    EncodingOption,
    IdOption,
    JsonOption,
    LengthOption,
    ModelOption,
    PrecisionOption,
    TextOption,
    TitleOption,
)

if TYPE_CHECKING:
    from corom.records import Passage
    from corom.vectors import Vectors

MOST = 4000

Score: TypeAlias = Literal["dot", "cosine", "l2"]


def command(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Two or more texts.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            help="Texts from a .jsonl, .csv, .xlsx, .tsv or .txt file, or - (a text a line).",
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="A .tsv (text, text) or .jsonl (query, positive) of pairs."),
    ] = None,
    above: Annotated[
        float | None,
        typer.Option(
            "--above",
            help="With --file: instead of the matrix every two texts that score so much or more, "
            "the closest first.",
        ),
    ] = None,
    score: Annotated[
        Score,
        typer.Option("--score", help="dot: what the model was trained with; l2: lower is nearer."),
    ] = "dot",
    column: TextOption = None,
    id_: IdOption = None,
    title: TitleOption = None,
    encoding: EncodingOption = "utf-8",
    model: ModelOption = "corom-medical",
    precision: PrecisionOption = "auto",
    max_length: LengthOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score texts with each other.

    Every text with every other (a matrix, of at most 4,000 texts), or the two texts of each pair
    in a file. With --above those that say much the same, such as questions asked twice.
    """
    from corom.errors import InputError
    from corom.readers import Layout, read_pairs
    from corom.similarity import check_above, score_matrix, score_pairs

    if above is not None:
        if file is None:
            raise InputError("--above belongs to --file")
        check_above(above, score=score)
    if sum((bool(texts), file is not None, pairs is not None)) != 1:
        raise InputError("give texts, --file or --pairs (one of the three)")
    both = [(pair.query, pair.positive) for pair in read_pairs(pairs)] if pairs else []
    layout = Layout(text=column, id=id_, title=title, encoding=encoding)
    if file is None:
        layout.refuse("without --file")
    passages = [] if file is None else list(read_passages(file, layout))
    texts = texts or [passage.content for passage in passages]
    if above is None and len(texts) > MOST:
        raise InputError(
            f"{len(texts):,} texts make a matrix of {len(texts) ** 2:,} scores; with --above there "
            "are only the highest"
        )
    encoder = load_encoder(model, precision=precision, max_length=max_length)
    if above is not None:
        _close(passages, encoder.encode_passages(texts), above, score, as_json=as_json)
        return
    if pairs is not None:
        left, right = (encoder.encode_passages(pair[side] for pair in both) for side in (0, 1))
        scores = score_pairs(left, right, score=score).tolist()
        rows = [_row(value, *texts_) for value, texts_ in zip(scores, both, strict=True)]
    else:
        vectors = encoder.encode_passages(texts)
        scores = score_matrix(vectors, vectors, score=score).tolist()
        rows = ["\t".join(f"{value:.4f}" for value in row) for row in scores]
    if as_json:
        say_json(scores)
    else:
        for row in rows:
            say(row)


def _close(
    passages: list[Passage], vectors: Vectors, above: float, score: Score, *, as_json: bool
) -> None:
    """Print score, ids and texts of every two passages that are close."""
    from corom.similarity import close_pairs

    found = close_pairs(vectors, above=above, score=score)
    if not len(found.rows):
        note(f"no two of {len(passages):,} texts score {above} or more")
    for (left, right), value in zip(found.rows.tolist(), found.scores.tolist(), strict=True):
        a, b = passages[left], passages[right]
        if as_json:
            say_json({"left": a.id, "right": b.id, "score": value})
        else:
            say(_row(value, a.id, b.id, a.content, b.content))


def _row(score: float, *texts: str) -> str:
    """Return a line of a table; white space in a text becomes a blank."""
    return "\t".join([f"{score:.4f}", *(" ".join(text.split()) for text in texts)])
