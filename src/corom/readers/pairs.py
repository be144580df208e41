"""Training pairs: a query and a text that answers it or means the same.

One jsonl line: `{"query", "positive"}`, and as far as known `"kind"` (what the pair is),
`"source"` (where it is from), `"negatives"` (texts), `"label"` (a grade; 0: not the same after
all). A .tsv holds text, text and perhaps label: the form of question matching sets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from corom.errors import InputError
from corom.readers.compression import plain_name
from corom.readers.fields import (
    JsonObject,
    json_object,
    list_field,
    optional_text,
    require_grade,
    require_text,
    split_columns,
    text_field,
)
from corom.readers.lines import BadRecordError, SkipReport, read_records
from corom.readers.writing import write_lines

# What sentence-transformers, FlagEmbedding and others call them: not to be passed over in silence.
_FOREIGN = {"negative", "hard_negatives", "neg", "pos", "anchor"}


class Pair(NamedTuple):
    """Two texts that belong together; with a label, how much."""

    query: str
    positive: str
    kind: str = ""
    source: str = ""
    negatives: tuple[str, ...] = ()
    label: int | None = None


def read_pairs(
    path: Path | str,
    *,
    skips: SkipReport | None = None,
    require: Callable[[Pair], None] | None = None,
) -> Iterator[Pair]:
    """Yield the pairs of a .jsonl file or of a .tsv with text, text and perhaps label.

    `require` may refuse a pair by a BadRecordError, as for any line that cannot be used. Raises
    InputError for a .csv, which pairs are not read from.
    """
    name = plain_name(Path(path).name.lower())
    if name.endswith(".csv"):
        raise InputError(f"{path} is csv; pairs are read from .tsv (text, text, label) or .jsonl")
    parse = _parse_columns if name.endswith(".tsv") else _parse_object

    def required(line: str) -> Pair:
        pair = parse(line)
        if require is not None:
            require(pair)
        return pair

    return read_records([Path(path)], required, skips=skips)


def write_pairs(path: Path | str, pairs: Iterable[Pair]) -> None:
    """Write pairs so that `read_pairs` returns them; what is empty is left out."""
    write_lines(path, (json.dumps(_record(pair), ensure_ascii=False) for pair in pairs))


def _parse_columns(line: str) -> Pair:
    names = ("text", "text") if line.count("\t") == 1 else ("text", "text", "label")
    query, positive, *label = split_columns(line, *names)
    grade = require_grade(label[0]) if label else None
    return Pair(require_text(query), require_text(positive), label=grade)


def _parse_object(line: str) -> Pair:
    record = json_object(line)
    if foreign := _FOREIGN & record.keys():
        raise BadRecordError(
            "unknown field",
            f"has a field {min(foreign)!r}, as other tools name it; here a line has query, "
            "positive, negatives (docs/data-formats.md)",
        )
    label = record.get("label")
    if label is not None and type(label) is not int:
        raise BadRecordError("bad grade", "has a label that is not an integer")
    negatives = list_field(record, "negatives")
    if not all(isinstance(text, str) for text in negatives):
        raise BadRecordError("bad field", "has a negative that is not a string")
    return Pair(
        text_field(record, "query"),
        text_field(record, "positive"),
        optional_text(record, "kind"),
        optional_text(record, "source"),
        tuple(require_text(text, name="negative") for text in negatives),
        label,
    )


def _record(pair: Pair) -> JsonObject:
    wanted = pair._asdict()
    return {name: value for name, value in wanted.items() if value not in ("", (), None)}
