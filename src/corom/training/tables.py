"""Settings from TOML: a table in, a frozen dataclass out, nothing unknown let through."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from corom.errors import FormatError, InputError

T = TypeVar("T")

NONE = "none"
"""What stands for None in a file, TOML having no such value: `limit = "none"`."""


def read_toml(path: Path | str, *, within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a TOML file holds, merged over the file it `extends`, if it names one beside it.

    Raises FormatError where a file is missing or broken, or extends one it lies `within`.
    """
    table = _parsed(path)
    if (other := table.pop("extends", None)) is None:
        return table
    if not isinstance(other, str):
        raise FormatError(f"extends is {other!r}; expected the name of a file", path=path)
    within = (*within, Path(path).resolve())
    below = Path(path).parent / other
    if below.resolve() in within:
        raise FormatError(f"extends {other}, which extends this file", path=path)
    return merged(read_toml(below, within=within), table)


def _parsed(path: Path | str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError("there is no such file", path=path) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"not valid TOML: {error}", path=path) from None


def from_table(kind: type[T], table: Mapping[str, Any], *, at: str = "") -> T:
    """Return the dataclass `kind` filled from `table`, sub-tables into dataclasses within.

    Raises InputError for an unknown key (with the likely one), a missing key and a value of
    another type; `at` is where the table stands, for the message.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise InputError(f"unknown setting {at}{key}{_suggest(key, list(known))}")
    values = {}
    for name, field in known.items():
        if name in table:
            values[name] = _value(hints[name], table[name], at=f"{at}{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"the setting {at}{name} is missing")
    return kind(**values)


def assigned(text: str) -> dict[str, Any]:
    """Return `optimizer.epochs=1` as the tables it stands for; a value that is no TOML is a text.

    Raises InputError for what has no such form.
    """
    key, sign, value = text.partition("=")
    for written in (value, json.dumps(value, ensure_ascii=False)):
        try:
            table = tomllib.loads(f"{key} = {written}")
        except tomllib.TOMLDecodeError:
            continue
        if sign and key.strip() and len(table) == 1:
            return table
    raise InputError(f"{text!r} sets nothing; expected a setting and a value: optimizer.epochs=1")


def merged(
    table: Mapping[str, Any], changes: Mapping[str, Any], *, new_first: bool = True
) -> dict[str, Any]:
    """Return a deep copy of `table` with the `changes` to it and to the tables in it.

    New keys come first unless told: of patterns the first that matches counts, and "*" is the last.
    """
    found = dict.fromkeys(key for key in changes if new_first and key not in table)
    found |= {k: merged(v, {}) if isinstance(v, Mapping) else v for k, v in table.items()}
    for key, value in changes.items():
        old = found.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        found[key] = merged(old, value, new_first=new_first) if both else value  # type: ignore[arg-type]
    return found


def as_table(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - any settings dataclass
    """Return settings as plain JSON values; `from_table` turns them back."""
    return json.loads(json.dumps(asdict(settings)))  # type: ignore[no-any-return]


def _suggest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"


def _value(kind: Any, value: Any, *, at: str) -> Any:  # noqa: ANN401 - checked here
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind) and isinstance(value, Mapping):
        return from_table(kind, value, at=f"{at}.")  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return None if value in (None, NONE) else _value(inside[0], value, at=at)
    if origin is Literal and value in inside:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(inside[0], one, at=f"{at}[{n}]") for n, one in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(inside[1], one, at=f"{at}.{key}") for key, one in value.items()}
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    expected = " or ".join(map(repr, inside)) if origin is Literal else _name(kind)
    raise InputError(f"the setting {at} is {value!r}; expected {expected}")


def _name(kind: Any) -> str:  # noqa: ANN401 - a type
    names = {"dict": "a table", "tuple": "a list", "float": "a finite number"}
    base = getattr(get_origin(kind) or kind, "__name__", str(kind))
    return "a table" if is_dataclass(kind) else names.get(base, base)
