"""Vectors in PostgreSQL, searched with pgvector (extra `postgres`).

Every index is a table of its own; `corom_indexes` says which table an index's name stands for:

| column | what |
|---|---|
| `relation` | the table |
| `name` | of the index |
| `spec` | what it is, as JSON |
| `rows` | passages loaded, written in the transaction that loads them |
| `complete` | whether it is what searches of `name` find; there is one at most |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from corom.checks import require_whole
from corom.errors import ArtifactError, InputError
from corom.extras import need
from corom.index.segments import check_vectors
from corom.index.spec import HnswOptions, IndexSpec
from corom.records import Hit, Passage
from corom.stores.frame import Connection, Live, ServerIndex, ranked_by_rule, require_ids
from corom.stores.uri import Address
from corom.vectors import Vectors

T = TypeVar("T")

_REFUSED = ("authentication failed", "does not exist", "no password supplied", "pg_hba.conf")
_LEAST_VERSION = (0, 7)
"""of pgvector: half vectors and bits"""


class Database(Connection):
    """A connection to a database that is made anew when the server was away."""

    def __init__(self, address: Address, *, deadline: float) -> None:
        super().__init__(address, deadline=deadline)
        self._psycopg = need("psycopg", extra="postgres")

    def run(
        self,
        action: Callable[[Live], T],
        *,
        greet: Callable[[Live], None] | None = None,
        deadline: float | None = None,
    ) -> T:
        """Return what `action` does with a connection, in one transaction, tried until it works.

        `greet` is called with every new connection first. Raises ServiceError when the deadline
        (None: that of all operations) is reached.
        """

        def attempt(left: float) -> T:
            if self._open is None or self._open.closed:
                self._open = self._connect(left)
                if greet:
                    greet(self._open)
            with self._open.transaction():
                self._open.execute(f"SET LOCAL statement_timeout = {max(1, int(left * 1000))}")
                return action(self._open)

        return self._patiently(attempt, deadline=deadline)

    def _connect(self, left: float) -> Live:
        try:
            return self._psycopg.connect(
                self.address.target, connect_timeout=max(2, int(left)), autocommit=True
            )
        except self._psycopg.ProgrammingError:
            # Its text would repeat the URI.
            raise InputError(f"{self.address.shown} is no URI that libpq takes") from None
        except self._psycopg.OperationalError as error:
            # libpq gives no code here, and these do not mend themselves.
            if any(words in str(error) for words in _REFUSED):
                raise InputError(
                    f"{self.address.shown} refuses the login; check user, password and database"
                ) from None
            raise

    def _is_transient(self, error: Exception) -> bool:
        return isinstance(error, self._psycopg.OperationalError | self._psycopg.InterfaceError)


def prepare(connection: Live, *, halves: bool) -> None:
    """Make sure of pgvector and of the table of indexes; InputError if the server is too old."""
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except Exception as error:
        if type(error).__name__ in ("FeatureNotSupported", "UndefinedFile"):
            raise InputError("the server has no pgvector; install the extension there") from None
        raise
    if halves and version(connection) < _LEAST_VERSION:
        raise InputError("float16 and binary need pgvector 0.7 or newer on the server")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS corom_indexes (relation text PRIMARY KEY, name text NOT NULL, "
        "spec jsonb NOT NULL, rows bigint NOT NULL, complete boolean NOT NULL)"
    )


def version(connection: Live) -> tuple[int, ...]:
    """Return the version of pgvector in the database."""
    query = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    row = connection.execute(query).fetchone()
    return tuple(int(part) for part in row[0].split(".")) if row else ()


class PostgresStore(ServerIndex):
    """An index in PostgreSQL, as it was when it was opened."""

    def __init__(
        self,
        database: Database,
        *,
        relation: str,
        spec: IndexSpec,
        rows: int,
        extension: tuple[int, ...],
    ) -> None:
        """For `open_store`."""
        super().__init__(database, spec=spec, rows=rows)
        self._database, self._relation, self._version = database, relation, extension

    @classmethod
    def open(cls, address: Address, *, deadline: float) -> PostgresStore:
        """Return the index an address names; ArtifactError if there is none."""
        database = Database(address, deadline=deadline)

        def look(live: Live) -> tuple[Any, tuple[int, ...]]:
            if live.execute("SELECT to_regclass('corom_indexes')").fetchone()[0] is None:
                return None, ()
            query = "SELECT relation, spec, rows FROM corom_indexes WHERE name = %s AND complete"
            return live.execute(query, [address.name]).fetchone(), version(live)

        row, extension = database.run(look)
        if row is None:
            raise ArtifactError(
                f"{address.shown} holds no finished index; make one with corom index --to"
            )
        spec = IndexSpec.from_json(row[1] if isinstance(row[1], dict) else json.loads(row[1]))
        return cls(database, relation=row[0], spec=spec, rows=row[2], extension=extension)

    def search(self, queries: Vectors, k: int) -> list[list[Hit]]:
        """Return the `min(k, n)` best passages of each query, `(q, dim) float32`, best first.

        Scores are those of the server, in fp32 of the vectors as they are stored.
        """
        check_vectors(queries, dim=self._spec.dim)
        require_whole("k", k)

        def look(connection: Live) -> list[list[Hit]]:
            def fetch(asked: list[int], limit: int) -> list[list[Hit]]:
                for setting in self._settings(limit):
                    connection.execute(setting)
                query = self._query(k, limit)
                found = (
                    connection.execute(query, {"q": literal(queries[n])}, prepare=True)
                    for n in asked
                )
                return [[Hit(*row) for row in rows.fetchall()] for rows in found]

            return ranked_by_rule(fetch, len(queries), k, most=self._rows)

        return self._database.run(look)

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return passages with their texts; InputError for an id that is not there."""
        query = f"SELECT id, text, title FROM {self._relation} WHERE id = ANY(%s)"  # noqa: S608 - our own name
        rows = self._database.run(lambda live: live.execute(query, [list(ids)]).fetchall())
        return require_ids(ids, {row[0]: Passage(*row) for row in rows})

    def _query(self, k: int, limit: int) -> str:
        kind = vector_type(self._spec)
        score = f"-(embedding <#> %(q)s::{kind})"
        relation = self._relation
        if self._spec.scan == "binary":
            bits = f"binary_quantize(%(q)s::{kind})"
            some = max(10 * k, 1000)
            relation = (
                f"(SELECT id, embedding FROM {relation} ORDER BY bits <~> {bits} LIMIT {some}) best"  # noqa: S608
            )
        return (
            f"SELECT id, {score} FROM {relation} "  # noqa: S608 - names and numbers of ours
            f"ORDER BY embedding <#> %(q)s::{kind} LIMIT {limit}"
        )

    def _settings(self, limit: int) -> list[str]:
        options = self._spec.options
        if not isinstance(options, HnswOptions):
            return []
        effort = min(max(options.search_effort, limit), 1000)
        settings = [f"SET LOCAL hnsw.ef_search = {effort}"]
        if self._version >= (0, 8):  # goes on until k are found, beyond the 1000 of ef_search
            settings.append("SET LOCAL hnsw.iterative_scan = strict_order")
        return settings


def vector_type(spec: IndexSpec) -> str:
    """Return the type of a column of vectors."""
    return f"{'halfvec' if spec.vector_type == 'float16' else 'vector'}({spec.dim})"


def literal(vector: Vectors) -> str:
    """Return a vector as PostgreSQL reads it; nine digits give every float32 back."""
    return f"[{','.join(f'{number:.9g}' for number in vector.tolist())}]"
