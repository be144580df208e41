"""ModelScope's configuration: nested tables whose keys are attributes too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any


class Config(dict[str, Any]):
    """A table that is read and changed as `cfg.train.max_epochs` or `cfg["train"]["max_epochs"]`.

    Tables put into it become such tables. A key that is missing raises AttributeError or KeyError.
    """

    def __init__(self, table: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.update(table or {})

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the key holds
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the configuration has no {name!r} here") from None

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __setitem__(self, key: str, value: object) -> None:
        super().__setitem__(key, _wrapped(value))

    def __deepcopy__(self, memo: dict[int, Any]) -> Config:
        return Config(deepcopy(dict(self), memo))

    def update(self, *tables: Mapping[str, Any], **values: Any) -> None:  # type: ignore[override] # noqa: ANN401
        """Set what the tables and keywords hold."""
        for table in (*tables, values):
            for key, value in table.items():
                self[key] = value

    def setdefault(self, key: str, default: object = None) -> Any:  # noqa: ANN401
        """Return the value of a key, set to `default` first if it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def safe_get(self, path: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return what lies at `path` (keys and dots), or `default`."""
        found: Any = self
        for key in path.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return default
            found = found[key]
        return found

    def merge_from_dict(self, options: Mapping[str, Any]) -> None:
        """Set values by their path: `{"train.max_epochs": 1}`; missing tables are made."""
        for path, value in options.items():
            *tables, key = path.split(".")
            at = self
            for table in tables:
                at = at.setdefault(table, {})
            at[key] = value

    def to_dict(self) -> dict[str, Any]:
        """Return a deep copy of plain dicts and lists."""
        return {key: _plain(value) for key, value in self.items()}


def leaves(table: Mapping[str, Any], *, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything in a table that is no table."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, at=f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _wrapped(value: Any) -> Any:  # noqa: ANN401 - anything
    if isinstance(value, Mapping) and not isinstance(value, Config):
        return Config(value)
    return [_wrapped(one) for one in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:  # noqa: ANN401 - anything
    if isinstance(value, Config):
        return value.to_dict()
    return [_plain(one) for one in value] if isinstance(value, list) else value
