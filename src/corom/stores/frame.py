"""What every server has in common: a connection that mends itself, an index, a loader."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias, TypeVar

from corom.errors import InputError
from corom.index.spec import IndexSpec
from corom.ranking import rank_hits
from corom.records import Hit, Passage
from corom.stores.retrying import with_patience
from corom.stores.uri import Address

T = TypeVar("T")

Live: TypeAlias = Any
"""What comes from a server's own library, which is an extra and has no types: its connection."""

MARGIN = 16
"""Hits asked for beyond k: equal scores at the end of the list are ordered by us, not by chance."""


def ranked_by_rule(
    fetch: Callable[[list[int], int], list[list[Hit]]], queries: int, k: int, *, most: int
) -> list[list[Hit]]:
    """Return the best `k` hits of each of `queries`, those that score as the k-th by their ids.

    `fetch` returns so many hits of these queries as it is told, best first. It is asked for twice
    as many, up to `most`, while the last of them scores as the k-th: more of that score may follow.
    """
    limit = min(k + MARGIN, most)
    found: dict[int, list[Hit]] = {}
    asked = list(range(queries))
    while asked:
        found.update(zip(asked, fetch(asked, limit), strict=True))
        asked = [n for n in asked if limit < most and _ends_in_ties(found[n], k, limit)]
        limit = min(2 * limit, most)
    return [rank_hits(found[n], k) for n in range(queries)]


def _ends_in_ties(hits: list[Hit], k: int, limit: int) -> bool:
    return len(hits) >= limit and hits[-1].score == hits[k - 1].score


class Connection(ABC):
    """A connection that is made anew when the server was away."""

    def __init__(self, address: Address, *, deadline: float) -> None:
        self.address, self._deadline = address, deadline
        self._open: Any = None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _patiently(self, attempt: Callable[[float], T], *, deadline: float | None = None) -> T:
        """Return what `attempt`, told how many seconds are left, returns; tried until it works.

        Raises ServiceError when the deadline (None: that of all operations) is reached.
        """
        return with_patience(
            attempt,
            transient=self._is_transient,
            what=self.address.shown,
            deadline=self._deadline if deadline is None else deadline,
            between=self.close,
        )

    @abstractmethod
    def _is_transient(self, error: Exception) -> bool:
        """Whether an error may mend itself."""


class ServerIndex:
    """An index on a server, as it was when it was opened."""

    def __init__(self, connection: Connection, *, spec: IndexSpec, rows: int) -> None:
        """For `open_store`."""
        self._closing, self._spec, self._rows = connection.close, spec, rows

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""
        return self._spec

    def __len__(self) -> int:
        return self._rows

    def close(self) -> None:
        """Close the connection."""
        self._closing()


class ServerLoader:
    """What fills an index on a server: the frame of `corom.index.building.Writer`."""

    done = 0
    """passages that are safe on the server"""
    complete = False
    """whether the index is what its name stands for"""

    def __init__(self, connection: Connection, spec: IndexSpec) -> None:
        self._address, self._closing, self._spec = connection.address, connection.close, spec

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""
        return self._spec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing()


def build_name(name: str, spec: IndexSpec, *, folded: bool = False) -> str:
    """Return the name of the collection or table that holds `spec` for the index `name`.

    The same index of the same corpus has the same name, so a load finds what a killed one left;
    any other has another, so a new load leaves alone what is searched meanwhile. `folded`: in small
    letters only; of names that differ in nothing else, the digits do.
    """
    value = {**spec.as_json(), "model": ""}
    if folded and name != name.lower():
        name, value["name"] = name.lower(), name
    text = json.dumps(value, sort_keys=True)
    return f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def require_ids(ids: Sequence[str], found: dict[str, Passage]) -> list[Passage]:
    """Return the passages of `ids` in their order; InputError for one that was not found."""
    if missing := next((id_ for id_ in ids if id_ not in found), None):
        raise InputError(f"id {missing!r} is not in the index")
    return [found[id_] for id_ in ids]
