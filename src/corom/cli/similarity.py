"""`corom similarity`: texts scored with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from corom.cli.console import load_encoder, read_passages, say, say_json
from corom.cli.options import JsonOption, LengthOption, ModelOption, PrecisionOption

Score: TypeAlias = Literal["dot", "cosine", "l2"]


def command(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Two or more texts.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", help="Texts from a .jsonl, .tsv or .txt file, or - (a text a line)."
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="A .tsv (text, text) or .jsonl (query, positive) of pairs."),
    ] = None,
    score: Annotated[
        Score,
        typer.Option("--score", help="dot: what the model was trained with; l2: lower is nearer."),
    ] = "dot",
    model: ModelOption = "corom-medical",
    precision: PrecisionOption = "auto",
    max_length: LengthOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score texts with each other.

    Every text with every other (a matrix), or the two texts of each pair in a file.
    """
    from corom.errors import InputError
    from corom.readers import read_pairs
    from corom.similarity import score_matrix, score_pairs

    if sum((bool(texts), file is not None, pairs is not None)) != 1:
        raise InputError("give texts, --file or --pairs (one of the three)")
    both = [(pair.query, pair.positive) for pair in read_pairs(pairs)] if pairs else []
    if file is not None:
        texts = [passage.content for passage in read_passages(file)]
    encoder = load_encoder(model, precision=precision, max_length=max_length)
    if pairs is not None:
        left, right = (encoder.encode_passages(pair[side] for pair in both) for side in (0, 1))
        scores = score_pairs(left, right, score=score).tolist()
        rows = [f"{value:.4f}\t{a}\t{b}" for value, (a, b) in zip(scores, both, strict=True)]
    else:
        vectors = encoder.encode_passages(texts or [])
        scores = score_matrix(vectors, vectors, score=score).tolist()
        rows = ["\t".join(f"{value:.4f}" for value in row) for row in scores]
    if as_json:
        say_json(scores)
    else:
        for row in rows:
            say(row)
