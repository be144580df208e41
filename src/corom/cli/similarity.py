"""`corom similarity`: texts scored with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.console import check_table, note, say, say_json
from corom.cli.duplicates import Score, find_groups, find_pairs, line_of, tell
from corom.cli.loading import load_encoder
from corom.cli.texts import Texts
from corom.errors import InputError

MOST = 4000


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
    groups: Annotated[
        bool,
        typer.Option(
            "--groups",
            help="With --above: the groups that such pairs form, the largest first; of each first "
            "the text that most others are close to.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="With --above: a .tsv, or a .csv for Excel, of pairs or groups."
        ),
    ] = None,
    score: Annotated[
        Score,
        typer.Option("--score", help="dot: what the model was trained with; l2: lower is nearer."),
    ] = "dot",
    column: flags.Text = None,
    id_: flags.Id = None,
    title: flags.Title = None,
    encoding: flags.Encoding = "utf-8",
    no_header: flags.NoHeader = False,
    skip_bad: flags.SkipBad = False,
    model: flags.Model = "corom-medical",
    precision: flags.Precision = "auto",
    max_length: flags.Length = None,
    as_json: flags.Json = False,
) -> None:
    """Score texts with each other.

    Every text with every other (a matrix, of at most 4,000 texts), or the two texts of each pair
    in a file. With --above those that say much the same, such as questions asked twice.
    """
    from corom.readers import Layout, read_pairs
    from corom.similarity import score_matrix, score_pairs

    _check_flags(file, above=above, groups=groups, out=out, score=score)
    if sum((bool(texts), file is not None, pairs is not None)) != 1:
        raise InputError("give texts, --file or --pairs (one of the three)")
    both = [(pair.query, pair.positive) for pair in read_pairs(pairs)] if pairs else []
    layout = Layout(text=column, id=id_, title=title, encoding=encoding, header=not no_header)
    passages = list(Texts(file, layout, skip_bad=skip_bad).passages())
    texts = texts or [passage.content for passage in passages]
    if above is None and len(texts) > MOST:
        raise InputError(
            f"{len(texts):,} texts make a matrix of {len(texts) ** 2:,} scores; with --above there "
            "are only the highest"
        )
    encoder = load_encoder(model, precision=precision, max_length=max_length)
    if above is not None:
        find = find_groups if groups else find_pairs
        found = find(passages, encoder, above=above, score=score)
        if not found.rows:
            note(f"no two of {len(passages):,} texts score {above} or more")
        tell(found, out, as_json=as_json)
        return
    if pairs is not None:
        left, right = (encoder.encode_passages(pair[side] for pair in both) for side in (0, 1))
        scores = score_pairs(left, right, score=score).tolist()
        rows = [(value, *pair) for value, pair in zip(scores, both, strict=True)]
    else:
        vectors = encoder.encode_passages(texts)
        scores = score_matrix(vectors, vectors, score=score).tolist()
        rows = scores
    if as_json:
        say_json(scores)
        return
    for row in rows:
        say(line_of(row))


def _check_flags(
    file: str | None, *, above: float | None, groups: bool, out: Path | None, score: Score
) -> None:
    """Raise InputError for flags that do not go together, and what cannot be found or written."""
    from corom.similarity import check_above

    if above is None:
        if groups or out is not None:
            raise InputError("--groups and --out belong to --above")
        return
    if file is None:
        raise InputError("--above belongs to --file")
    check_above(above, score=score)
    if out is not None:
        check_table(out, file)
