"""Loading an index into Milvus: batch after batch, and at the end the alias.

Milvus has no transactions, and it takes the same primary key twice without a word. So batches have
one size and come one after another: the number of passages there says which one was the last, and
whatever may be there already (the first batch of a load that goes on, a batch whose answer was
lost) is written by `upsert`, which replaces. At the end the passages are counted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from corom.errors import ArtifactError, InputError
from corom.index.segments import make_segment
from corom.index.spec import HnswOptions, IndexSpec, IvfPqOptions
from corom.records import Passage
from corom.stores.frame import Live, ServerLoader, build_name
from corom.stores.milvus import SPECS, Client, count, resolve, write_spec
from corom.stores.uri import Address
from corom.text import clean
from corom.vectors import Vectors

BATCH = 1024
"""Passages per request; of 768 numbers, with texts of some kilobytes, well below Milvus's 64 MB."""
_MOST_BYTES = 65535
"""of a text: what a VARCHAR holds"""
_ID_BYTES = 512
_TRY = 60.0
"""Seconds one write may take."""
_BUILDING = 24 * 3600.0
_OFTEN = 0.2
"""Seconds between two looks at an index that is being built."""


class MilvusLoader(ServerLoader):
    """Fills a collection and points the index's name to it when it is whole; see `open_loader`."""

    def __init__(self, address: Address, spec: IndexSpec, *, deadline: float) -> None:
        self._client = Client(address, deadline=deadline)
        super().__init__(self._client, spec)
        self._collection = build_name(address.name, spec)
        try:
            _require_possible(spec)
            if spec.is_words:
                self._client.run(_require_words)
            self.complete = self._points_here()
            self.done = self._begin()
        except BaseException:
            self._client.close()
            raise
        self._waiting: list[dict[str, Any]] = []
        self._doubtful = True
        """whether the next batch may be there already"""

    def append(self, passages: Sequence[Passage], vectors: Vectors | None = None) -> None:
        """Add passages; up to a batch of them waits for the next call or for `finish`."""
        make_segment(passages, vectors, spec=self._spec)  # refuses what cannot be kept
        self._waiting += _rows(passages, vectors, half=self._spec.vector_type == "float16")
        while len(self._waiting) >= BATCH:
            self._write()

    def finish(self) -> None:
        """Write the rest, count, build the index, and point the index's name to it."""
        if self.complete:
            return
        while self._waiting:
            self._write()
        name = self._collection
        self._client.run(lambda live, left: live.flush(name, timeout=left), longest=_TRY)
        self._client.run(self._await_index, longest=_BUILDING, deadline=_BUILDING)
        self._load()
        found = self._client.run(lambda live, left: count(live, name, left), longest=_TRY)
        if found != self.done:
            raise ArtifactError(
                f"{self._address.shown} holds {found} passages after a load of {self.done}; are "
                "there ids that occur twice, or another load at work? Load it again"
            )
        self._client.run(self._publish, longest=_TRY)
        self.complete = True

    def _points_here(self) -> bool:
        found, _ = self._client.run(lambda live, left: resolve(live, self._address, left))
        return found == self._collection

    def _begin(self) -> int:
        """Make the collection, or return how many passages a killed load left in it."""
        name = self._collection
        if not self._client.run(lambda live, left: live.has_collection(name, timeout=left)):
            self._client.run(self._create, longest=_TRY)
        self._load()
        found = self._client.run(lambda live, left: count(live, name, left), longest=_TRY)
        # The batch that was being written when the load was killed may be there in part.
        return found if self.complete else found // BATCH * BATCH

    def _create(self, live: Live, left: float) -> None:
        if live.has_collection(self._collection, timeout=left):
            return  # made by a try whose answer was lost
        write_spec(live, self._collection, self._spec, left)
        schema, indexes = _schema(live, self._spec), live.prepare_index_params()
        field, options = _index(self._spec)
        indexes.add_index(field_name=field, **options)
        live.create_collection(
            self._collection,
            schema=schema,
            index_params=indexes,
            consistency_level="Strong",
            timeout=left,
        )

    def _await_index(self, live: Live, left: float) -> None:
        """Return when the server has built the index: until then it reads every vector."""
        name, end = self._collection, time.monotonic() + left
        while time.monotonic() < end:
            [index] = live.list_indexes(name, timeout=_TRY)
            state = live.describe_index(name, index, timeout=_TRY)
            if not state.get("pending_index_rows"):
                return
            time.sleep(_OFTEN)

    def _load(self) -> None:
        name = self._collection
        self._client.run(
            lambda live, left: live.load_collection(name, timeout=left),
            longest=_BUILDING,
            deadline=_BUILDING,
        )

    def _write(self) -> None:
        rows = self._waiting[:BATCH]

        def write(live: Live, left: float) -> None:
            put = live.upsert if self._doubtful else live.insert
            self._doubtful = True
            put(self._collection, data=rows, timeout=left)

        self._client.run(write, longest=_TRY)
        self._doubtful = False
        self._waiting = self._waiting[BATCH:]
        self.done += len(rows)

    def _publish(self, live: Live, left: float) -> None:
        name = self._address.name
        old, _ = resolve(live, self._address, left)
        if old == self._collection:
            return  # by a try whose answer was lost
        if old is None:
            live.create_alias(self._collection, name, timeout=left)
            return
        live.alter_alias(self._collection, name, timeout=left)
        live.drop_collection(old, timeout=left)
        live.delete(SPECS, ids=[old], timeout=left)


def _rows(
    passages: Sequence[Passage], vectors: Vectors | None, *, half: bool
) -> list[dict[str, Any]]:
    rows = []
    for place, passage in enumerate(passages):
        # The server counts the words of one field: titles are words, too.
        text, title = (passage.content, "") if vectors is None else (passage.text, passage.title)
        row: dict[str, Any] = {"id": passage.id, "text": clean(text), "title": clean(title)}
        for name, most in (("id", _ID_BYTES), ("text", _MOST_BYTES), ("title", _MOST_BYTES)):
            if len(row[name].encode()) > most:
                raise InputError(
                    f"passage {passage.id[:_ID_BYTES]!r} has a {name} of more than {most:,} bytes, "
                    "the most that Milvus keeps; split it"
                )
        if vectors is not None:
            row["vector"] = vectors[place].astype(np.float16) if half else vectors[place]
        rows.append(row)
    return rows


def _schema(live: Live, spec: IndexSpec) -> Live:
    from pymilvus import DataType

    schema = live.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_ID_BYTES)
    schema.add_field("title", DataType.VARCHAR, max_length=_MOST_BYTES)
    if not spec.is_words:
        schema.add_field("text", DataType.VARCHAR, max_length=_MOST_BYTES)
        half = spec.vector_type == "float16"
        kind = DataType.FLOAT16_VECTOR if half else DataType.FLOAT_VECTOR
        schema.add_field("vector", kind, dim=spec.dim)
        return schema
    from pymilvus import Function, FunctionType

    schema.add_field(
        "text",
        DataType.VARCHAR,
        max_length=_MOST_BYTES,
        enable_analyzer=True,
        analyzer_params={"type": "chinese"},
    )
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(
            name="bm25",
            input_field_names=["text"],
            output_field_names=["words"],
            function_type=FunctionType.BM25,
        )
    )
    return schema


def _index(spec: IndexSpec) -> tuple[str, dict[str, Any]]:
    """Return the field that is indexed and how."""
    options = spec.options
    if spec.is_words:
        params: dict[str, Any] = {"bm25_k1": 1.2, "bm25_b": 0.75}
        kind = "SPARSE_INVERTED_INDEX"
        return "words", {"index_type": kind, "metric_type": "BM25", "params": params}
    if isinstance(options, HnswOptions):
        kind, params = "HNSW", {"M": options.links, "efConstruction": options.build_effort}
    elif isinstance(options, IvfPqOptions):
        kind, params = "IVF_PQ", {"nlist": options.lists or 1024, "m": options.bytes_per_vector}
    else:
        kind, params = "FLAT", {}
    return "vector", {"index_type": kind, "metric_type": "IP", "params": params}


def _require_possible(spec: IndexSpec) -> None:
    if spec.scan != "fp32":
        raise InputError(
            f"Milvus has no exact search that reads {spec.scan} first; leave out --scan"
        )


def _require_words(live: Live, left: float) -> None:
    # A server says 2.3.5 or v2.5.4, Lite milvus_lite-3.2.2.
    found = re.search(r"(\d+)\.(\d+)", live.get_server_version(timeout=left))
    if found and (int(found[1]), int(found[2])) < (2, 5):
        raise InputError(f"an index of words needs Milvus 2.5 or newer; this is {found[0]}")
