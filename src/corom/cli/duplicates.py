"""`corom similarity --above`: texts that say much the same, in pairs or in groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from corom.cli.console import counted, in_one_line, is_sheet, say, say_json

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.records import Passage

Score: TypeAlias = Literal["dot", "cosine", "l2"]
Row: TypeAlias = tuple[str | int | float, ...]


class Table(NamedTuple):
    """What was found: a table for people, records for programs, and a sentence."""

    header: tuple[str, ...]
    rows: list[Row]
    records: Iterable[Mapping[str, object]]
    summary: str


def find_pairs(
    passages: Sequence[Passage], encoder: Encoder, *, above: float, score: Score
) -> Table:
    """Return score, ids and texts of every two passages that are close, the closest first."""
    from corom.similarity import close_pairs

    vectors = encoder.encode_passages(passage.content for passage in passages)
    found = close_pairs(vectors, above=above, score=score)
    scores = found.scores.tolist()
    rows: list[Row] = []
    for (left, right), value in zip(found.rows.tolist(), scores, strict=True):
        a, b = passages[left], passages[right]
        rows.append((round(value, 4), a.id, b.id, a.content, b.content))
    records = (
        {"left": left, "right": right, "score": value}
        for (_, left, right, *_), value in zip(rows, scores, strict=True)
    )
    header = ("score", "left", "right", "left text", "right text")
    return Table(header, rows, records, counted(len(rows), "pair"))


def find_groups(
    passages: Sequence[Passage], encoder: Encoder, *, above: float, score: Score
) -> Table:
    """Return group, id and text of each passage that is close to another, group by group.

    Equal texts are one group without being compared.
    """
    from corom.similarity import close_pairs, group_pairs

    texts = {passage.id: passage.content for passage in passages}
    same: dict[str, list[str]] = {}
    for id_, text in texts.items():
        same.setdefault(text, []).append(id_)
    found = close_pairs(encoder.encode_passages(same), above=above, score=score)
    groups = group_pairs(found, list(same.values()))
    rows: list[Row] = [
        (number, id_, texts[id_]) for number, group in enumerate(groups) for id_ in group
    ]
    records = ({"group": number, "ids": group} for number, group in enumerate(groups))
    summary = f"{counted(len(groups), 'group')} of {counted(len(rows), 'text')}"
    return Table(("group", "id", "text"), rows, records, summary)


def tell(table: Table, out: Path | None, *, as_json: bool) -> None:
    """Print what was found; or write it to a file, and print where it is."""
    from corom.readers.writing import write_lines, write_sheet

    if out is not None:
        if is_sheet(out):
            write_sheet(out, table.header, table.rows)
        else:
            write_lines(out, map(line_of, table.rows))
    if as_json:
        for record in table.records:
            say_json(record)
    elif out is not None:
        say(f"{out}: {table.summary}")
    else:
        for row in table.rows:
            say(line_of(row))


def line_of(row: Iterable[str | int | float]) -> str:
    """Return a line of a table; white space in a text becomes a blank."""
    return "\t".join(
        f"{cell:.4f}" if isinstance(cell, float) else in_one_line(str(cell)) for cell in row
    )
