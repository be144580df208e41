"""What a line must hold: columns, identifiers, texts, grades; a BadRecordError says what is wrong.

No message repeats what the line holds: it may be a patient's question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from corom.readers.lines import BadRecordError

JsonObject: TypeAlias = dict[str, Any]
"""One parsed line of jsonl, alive only until its record is built."""

_INTEGER = re.compile(r"-?[0-9]{1,9}")


def split_columns(line: str, *names: str, by: str | None = "\t") -> list[str]:
    """Return the columns of a line, separated by tabs or (None) white space: one for each name."""
    columns = line.split(by)
    if len(columns) != len(names):
        raise BadRecordError(
            "wrong columns",
            f"has {len(columns)} columns instead of {len(names)} ({', '.join(names)}), "
            f"separated by {'tabs' if by else 'white space'}",
        )
    return columns


def require_id(value: str, *, name: str = "id") -> str:
    """Return an identifier as it is; an empty one is refused."""
    if not value.strip():
        raise BadRecordError("empty id", f"has an empty {name}")
    return value


def require_text(value: str, *, name: str = "text") -> str:
    """Return a text as it is; one without a visible character is refused."""
    if not value.strip():
        raise BadRecordError("empty text", f"has an empty {name}")
    return value


def require_grade(value: str, *, name: str = "grade") -> int:
    """Return a relevance grade: an integer in ASCII digits, negative ones included."""
    if not _INTEGER.fullmatch(value):
        raise BadRecordError("bad grade", f"has a {name} that is not an integer")
    return int(value)


def json_object(line: str) -> JsonObject:
    """Return the JSON object on a line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        # These messages name a column or a limit and quote nothing.
        raise BadRecordError("bad JSON", f"is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadRecordError("bad JSON", f"holds a JSON {type(value).__name__}, not an object")
    if "\\ud" in line or "\\uD" in line:
        _refuse_surrogates(json.dumps(value, ensure_ascii=False))
    return value


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRecordError(
            "invalid UTF-8", "escapes half a surrogate pair, which is no character"
        ) from None


def id_field(record: JsonObject, *names: str) -> str:
    """Return the identifier under the first of `names` that is there; a number becomes a string."""
    name, value = _field(record, names)
    if type(value) is int:
        return str(value)
    return require_id(_string(value, name), name=name)


def text_field(record: JsonObject, *names: str) -> str:
    """Return the text under the first of `names` that is there."""
    name, value = _field(record, names)
    return require_text(_string(value, name), name=name)


def optional_text(record: JsonObject, name: str) -> str:
    """Return a text that may be missing, null or empty."""
    value = record.get(name)
    return "" if value is None else _string(value, name)


def kept_fields(record: JsonObject, names: Sequence[str]) -> dict[str, str]:
    """Return the values under those of `names` that have one, as text; numbers as JSON has them."""
    values = {name: _kept(record.get(name), name) for name in names}
    return {name: value for name, value in values.items() if value}


def _kept(value: Any, name: str) -> str:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, int | float):
        return json.dumps(value)
    if not isinstance(value, str | None):
        raise BadRecordError("bad field", f"has a field {name!r} that is no text or number")
    return (value or "").strip()


def list_field(record: JsonObject, name: str) -> list[Any]:
    """Return a list that may be missing or null."""
    value = record.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRecordError("bad field", f"has a field {name!r} that is not a list")
    return value


def _field(record: JsonObject, names: tuple[str, ...]) -> tuple[str, Any]:
    for name in names:
        if name in record:
            return name, record[name]
    raise BadRecordError("missing field", f"has no field {' or '.join(map(repr, names))}")


def _string(value: Any, name: str) -> str:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(value, str):
        raise BadRecordError("bad field", f"has a field {name!r} that is not a string")
    return value
