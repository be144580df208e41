"""Rows as ModelScope's trainer takes them, to files of groups that corom trains on and searches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from corom.errors import FormatError
from corom.modelscope.train_settings import Names
from corom.readers import Group, write_groups
from corom.readers.lines import BadRecordError
from corom.records import Passage


def write_rows(target: Path, rows: Iterable[Mapping[str, Any]], *, names: Names, what: str) -> None:
    """Write rows as groups; equal passages get equal ids.

    `what` stands for the rows in errors: FormatError with the number of the row, from 1, for a
    field that is missing or is no text.
    """
    write_groups(target, _groups(rows, names=names, what=what))


def _groups(rows: Iterable[Mapping[str, Any]], *, names: Names, what: str) -> Iterator[Group]:
    for number, row in enumerate(rows, 1):
        try:
            yield _group(row, names=names, number=number)
        except BadRecordError as error:
            raise FormatError(str(error), path=what, line=number) from None


def _group(row: Mapping[str, Any], *, names: Names, number: int) -> Group:
    if not isinstance(row, Mapping):  # what `MsDataset.load` returns has splits, not rows
        raise BadRecordError("bad row", f"is {type(row).__name__}, not a row of fields")
    query = row.get(names.query)
    if not isinstance(query, str) or not query.strip():
        raise BadRecordError("bad field", _missing(row, names.query, "a text"))
    positives = _passages(row, names.positives, names=names)
    if not positives:
        raise BadRecordError(
            "bad field", _missing(row, names.positives, "a list of passages, at least one")
        )
    negatives = _passages(row, names.negatives, names=names)
    given = row.get(names.query_id)
    return Group(str(number if given is None else given), query, positives, negatives)


def _passages(row: Mapping[str, Any], name: str, *, names: Names) -> tuple[Passage, ...]:
    if (given := row.get(name)) is None:
        return ()
    try:
        entries = _listed(given)
    except (TypeError, ValueError):
        raise BadRecordError("bad field", _missing(row, name, "a list of passages")) from None
    return tuple(_passage(entry, name, names=names) for entry in entries)


def _listed(given: Any) -> list[Any]:  # noqa: ANN401 - anything
    """Return a list, one of tables also if it came as `datasets` stores it; raises if none is."""
    if isinstance(given, Mapping):  # of each field the values of all
        columns = map(_listed, given.values())
        return [dict(zip(given, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError
    return list(given)


def _passage(entry: Any, name: str, *, names: Names) -> Passage:  # noqa: ANN401 - anything
    if isinstance(entry, str):
        text = entry
    elif isinstance(entry, Mapping):
        for field in names.text:
            if not isinstance(entry.get(field), str):
                raise BadRecordError(
                    "bad field", f"a passage of {name!r}: {_missing(entry, field, 'a text')}"
                )
        fields = names.text or ("title", "text")
        text = " ".join(entry[field] for field in fields if entry.get(field))
    else:
        raise BadRecordError(
            "bad field", f"{name!r} holds {type(entry).__name__}, expected passages"
        )
    if not text.strip():
        raise BadRecordError("bad field", f"a passage of {name!r} has no text")
    return Passage(blake2b(text.encode(), digest_size=8).hexdigest(), text)


def _missing(row: Mapping[str, Any], name: str, expected: str) -> str:
    return f"the field {name!r} is not {expected}; the fields are {', '.join(map(str, row))}"
