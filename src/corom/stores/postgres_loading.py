"""Loading an index into PostgreSQL: every batch and its count in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from corom.errors import ArtifactError, InputError
from corom.index.segments import make_segment
from corom.index.spec import HnswOptions, IndexSpec
from corom.records import Passage
from corom.stores.frame import Live, ServerLoader, build_name
from corom.stores.postgres import Database, literal, prepare, vector_type
from corom.stores.uri import Address
from corom.text import clean
from corom.vectors import Vectors

T = TypeVar("T")

_BUILDING = 24 * 3600.0
"""Seconds a graph may take."""
_IN_ROW = 4096
"""Bytes of a vector that fit into a row of the table."""


class PostgresLoader(ServerLoader):
    """Fills a table and gives it the index's name when it is whole; see `open_loader`."""

    def __init__(self, address: Address, spec: IndexSpec, *, deadline: float) -> None:
        _require_possible(spec)
        self._database = Database(address, deadline=deadline)
        super().__init__(self._database, spec)
        self._locked = False
        # PostgreSQL takes capitals for small letters.
        self._relation = build_name(f"corom_{address.name}", spec, folded=True)
        try:
            self.done, self.complete = self._run(self._prepare)
        except BaseException:
            self._database.close()
            raise

    def append(self, passages: Sequence[Passage], vectors: Vectors | None = None) -> None:
        """Add passages with their vectors in one transaction, whatever happens to the server."""
        make_segment(passages, vectors, spec=self._spec)  # refuses what cannot be kept
        if vectors is None or not len(passages):
            return
        if bad := next((p.id for p in passages if "\0" in p.text + p.title), None):
            raise InputError(f"passage {bad!r} holds a NUL, which PostgreSQL cannot; remove it")
        before, after = self.done, self.done + len(passages)

        def copy(live: Live) -> None:
            done = self._count(live)
            if done == after:
                return  # the last try was done, only its answer was lost
            if done != before:
                raise ArtifactError(
                    f"{self._address.shown} has {done} passages where {before} were expected; "
                    "another load was at work"
                )
            columns = f"COPY {self._relation} (id, title, text, embedding) FROM STDIN"
            with live.cursor() as cursor, cursor.copy(columns) as sink:
                for passage, vector in zip(passages, vectors, strict=True):
                    texts = clean(passage.title), clean(passage.text)
                    sink.write_row((passage.id, *texts, literal(vector)))
            self._set_rows(live, after)

        try:
            self._run(copy)
        except Exception as error:
            if type(error).__name__ == "UniqueViolation":
                raise InputError("an id is in the index already; ids must be unique") from None
            raise
        self.done = after

    def finish(self) -> None:
        """Build the graph, if one was asked for, and let the index's name stand for the table."""
        if self.complete:
            return
        self._database.run(self._build_graph, greet=self._lock, deadline=_BUILDING)
        self._run(self._publish)
        self.complete = True

    def _run(self, action: Callable[[Live], T]) -> T:
        return self._database.run(action, greet=self._lock)

    def _lock(self, live: Live) -> None:
        """Hold the load's lock; the server lets go of it when the connection ends."""
        if self._locked:  # it may not have noticed yet that the last connection has ended
            live.execute("SET statement_timeout = 30000")
            live.execute("SELECT pg_advisory_lock(hashtext(%s))", [self._relation])
            return
        query = "SELECT pg_try_advisory_lock(hashtext(%s))"
        if not live.execute(query, [self._relation]).fetchone()[0]:
            raise ArtifactError(
                f"{self._address.shown} is being loaded by another process; wait until it is done"
            )
        self._locked = True

    def _prepare(self, live: Live) -> tuple[int, bool]:
        binary = self._spec.scan == "binary"
        prepare(live, halves=binary or self._spec.vector_type == "float16")
        row = live.execute(
            "SELECT rows, complete FROM corom_indexes WHERE relation = %s", [self._relation]
        ).fetchone()
        if row is not None:
            return int(row[0]), bool(row[1])
        bits = (
            f", bits bit({self._spec.dim}) GENERATED ALWAYS AS (binary_quantize(embedding)) STORED"
            if binary
            else ""
        )
        live.execute(
            f"CREATE TABLE {self._relation} (id text PRIMARY KEY, title text NOT NULL, "
            f"text text NOT NULL, embedding {vector_type(self._spec)} NOT NULL{bits})"
        )
        if self._spec.dim * 4 <= _IN_ROW:
            # To fetch vectors from beside the table is most of a scan's time.
            live.execute(f"ALTER TABLE {self._relation} ALTER embedding SET STORAGE PLAIN")
        live.execute(
            "INSERT INTO corom_indexes VALUES (%s, %s, %s, 0, false)",
            [self._relation, self._address.name, json.dumps(self._spec.as_json())],
        )
        return 0, False

    def _count(self, live: Live) -> int:
        row = live.execute(
            "SELECT rows FROM corom_indexes WHERE relation = %s FOR UPDATE", [self._relation]
        ).fetchone()
        if row is None:
            raise ArtifactError(f"{self._address.shown} was removed while it was loaded")
        return int(row[0])

    def _set_rows(self, live: Live, rows: int) -> None:
        live.execute(
            "UPDATE corom_indexes SET rows = %s WHERE relation = %s", [rows, self._relation]
        )

    def _build_graph(self, live: Live) -> None:
        options = self._spec.options
        if isinstance(options, HnswOptions):
            kind = "halfvec" if self._spec.vector_type == "float16" else "vector"
            live.execute(
                f"CREATE INDEX IF NOT EXISTS {self._relation}_graph ON {self._relation} "
                f"USING hnsw (embedding {kind}_ip_ops) "
                f"WITH (m = {options.links}, ef_construction = {options.build_effort})"
            )

    def _publish(self, live: Live) -> None:
        name, relation = self._address.name, self._relation
        old = live.execute(
            "DELETE FROM corom_indexes WHERE name = %s AND relation != %s RETURNING relation",
            [name, relation],
        ).fetchall()
        live.execute("UPDATE corom_indexes SET complete = true WHERE relation = %s", [relation])
        for row in old:
            live.execute(f'DROP TABLE IF EXISTS "{row[0]}"')


def _require_possible(spec: IndexSpec) -> None:
    kind = spec.options.kind
    if kind not in ("exact", "hnsw") or spec.scan not in ("fp32", "binary"):
        raise InputError(
            f"PostgreSQL holds no index of kind {kind} as asked for; take --kind exact (with "
            "--scan binary if you like) or hnsw"
        )
