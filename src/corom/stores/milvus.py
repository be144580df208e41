"""Vectors and words in Milvus: Lite in a file, a server, or a cluster (extra `milvus`).

An index is a collection of its own; the name in the URI is an alias that points to it from the
moment it is whole. What a collection is stands in another, `corom_indexes`, since Milvus Lite
keeps no descriptions. Fields:

| field | what |
|---|---|
| `id` | the passage's id, the primary key |
| `title`, `text` | as they are |
| `vector` | of an index of vectors |
| `words` | of an index of words: made by the server from `text` (BM25) |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from corom.checks import require_whole
from corom.errors import ArtifactError
from corom.extras import need
from corom.index.segments import check_vectors
from corom.index.spec import HnswOptions, IndexSpec, IvfPqOptions
from corom.records import Hit, Passage
from corom.stores.base import Store, WordStore
from corom.stores.frame import Connection, Live, ServerIndex, ranked_by_rule, require_ids
from corom.stores.uri import Address
from corom.text import check_texts
from corom.vectors import Vectors

T = TypeVar("T")

SPECS = "corom_indexes"
"""The collection that says what the others are."""
_MOST_HITS = 16384
"""Milvus gives no more at once."""
_AT_ONCE = 256
"""Queries per request."""
_TRY = 10.0
"""Seconds one try may take: a connection that hangs is given up and made anew."""


class Client(Connection):
    """A MilvusClient that is made anew when the server was away."""

    def __init__(self, address: Address, *, deadline: float) -> None:
        super().__init__(address, deadline=deadline)
        self._library = need("pymilvus", extra="milvus")
        if address.is_file:
            need("milvus_lite", extra="milvus")

    def run(
        self,
        action: Callable[[Live, float], T],
        *,
        longest: float = _TRY,
        deadline: float | None = None,
    ) -> T:
        """Return what `action` does with a client and its seconds, tried until it works.

        Raises ServiceError when the deadline (None: that of all operations) is reached.
        """

        def attempt(left: float) -> T:
            if self._open is None:
                self._open = self._library.MilvusClient(
                    uri=self.address.target, token=self.address.token, timeout=min(left, _TRY)
                )
            return action(self._open, min(left, longest))

        return self._patiently(attempt, deadline=deadline)

    def _is_transient(self, error: Exception) -> bool:
        grpc = need("grpc", extra="milvus")
        if isinstance(error, grpc.RpcError | grpc.FutureTimeoutError | ConnectionError):
            return True
        text = str(error).lower()
        return isinstance(error, self._library.MilvusException) and any(
            words in text for words in _TRANSIENT
        )


_TRANSIENT = (
    *("fail connecting", "unavailable", "deadline exceeded", "timeout", "timed out"),
    *("not ready", "not healthy", "rate limit", "retry run out", "closed channel", "no available"),
    *("channel not found", "node not found", "node offline", "not loaded", "not fully loaded"),
    *("connection refused", "connection reset", "socket closed", "should create connection"),
)


def open_milvus(address: Address, *, deadline: float) -> Store | WordStore:
    """Return the index an address names; ArtifactError if there is none."""
    client = Client(address, deadline=deadline)
    collection, spec = client.run(lambda live, left: resolve(live, address, left))
    if collection is None or spec is None:
        raise ArtifactError(
            f"{address.shown} holds no finished index; make one with corom index --to"
        )
    client.run(lambda live, left: live.load_collection(collection, timeout=left), longest=600)
    rows = client.run(lambda live, left: count(live, collection, left))
    kind = MilvusWords if spec.is_words else MilvusVectors
    return kind(client, collection=collection, spec=spec, rows=rows)


def resolve(live: Live, address: Address, left: float) -> tuple[str | None, IndexSpec | None]:
    """Return the collection that an index's name points to and what it is, or (None, None)."""
    if not live.has_collection(address.name, timeout=left):
        return None, None
    collection = str(live.describe_collection(address.name, timeout=left)["collection_name"])
    return collection, read_spec(live, collection, address, left)


def read_spec(live: Live, collection: str, address: Address, left: float) -> IndexSpec:
    """Return what a collection is, as its loader wrote; ArtifactError if it is none of ours."""
    rows = []
    if live.has_collection(SPECS, timeout=left):
        live.load_collection(SPECS, timeout=left)
        rows = live.get(SPECS, ids=[collection], output_fields=["spec"], timeout=left)
    if not rows:
        raise ArtifactError(
            f"{address.shown} is a collection that corom did not make; choose another name"
        )
    return IndexSpec.from_json(json.loads(rows[0]["spec"]))


def write_spec(live: Live, collection: str, spec: IndexSpec, left: float) -> None:
    """Write down what a collection is to be, before it is made."""
    from pymilvus import DataType

    if not live.has_collection(SPECS, timeout=left):
        schema = live.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=255)
        schema.add_field("spec", DataType.VARCHAR, max_length=65535)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)  # Milvus wants one everywhere
        indexes = live.prepare_index_params()
        indexes.add_index(field_name="vector", index_type="FLAT", metric_type="IP", params={})
        live.create_collection(
            SPECS, schema=schema, index_params=indexes, consistency_level="Strong", timeout=left
        )
    row = {"id": collection, "spec": json.dumps(spec.as_json()), "vector": [0.0, 0.0]}
    live.upsert(SPECS, data=[row], timeout=left)


def count(live: Live, collection: str, left: float) -> int:
    """Return how many passages a collection that is loaded holds now."""
    found = live.query(
        collection, filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=left
    )
    return int(found[0]["count(*)"])


class _MilvusIndex(ServerIndex):
    """What indexes of vectors and of words have in common."""

    def __init__(self, client: Client, *, collection: str, spec: IndexSpec, rows: int) -> None:
        """For `open_store`."""
        super().__init__(client, spec=spec, rows=rows)
        self._client, self._collection = client, collection

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return passages with their texts; InputError for an id that is not there."""
        fields = ["id", "text", "title"]
        found: dict[str, Passage] = {}
        for part in _parts(list(ids), _AT_ONCE):

            def fetch(live: Live, left: float, part: list[str] = part) -> Live:
                return live.query(
                    self._collection, filter=_among(part), output_fields=fields, timeout=left
                )

            for row in self._client.run(fetch):
                found[row["id"]] = Passage(row["id"], row["text"], row["title"])
        return require_ids(ids, found)

    def _search(
        self,
        data: list[Any],
        k: int,
        *,
        field: str,
        params: Callable[[int], dict[str, Any]],
    ) -> list[list[Hit]]:
        """Return the best `k` of each query; `params` for so many hits."""
        most = max(1, min(self._rows, _MOST_HITS))

        def fetch(asked: list[int], limit: int) -> list[list[Hit]]:
            options = {"anns_field": field, "search_params": params(limit)}
            hits: list[list[Hit]] = []
            for part in _parts([data[n] for n in asked], _AT_ONCE):

                def ask(live: Live, left: float, part: list[Any] = part) -> Live:
                    return live.search(
                        self._collection, data=part, limit=limit, timeout=left, **options
                    )

                # A search may take as long as the deadline lets it.
                for rows in self._client.run(ask, longest=600):
                    hits.append([Hit(str(row["id"]), float(row["distance"])) for row in rows])
            return hits

        return ranked_by_rule(fetch, len(data), k, most=most)


class MilvusVectors(_MilvusIndex):
    """Vectors in Milvus, as they were when the index was opened."""

    def search(self, queries: Vectors, k: int) -> list[list[Hit]]:
        """Return the best `k` passages of each query, `(q, dim) float32`, best first.

        Scores are inner products as the server computes them. k is at most 16,384.
        """
        check_vectors(queries, dim=self._spec.dim)
        require_whole("k", k, high=_MOST_HITS)
        data: list[Any] = list(queries)
        if self._spec.vector_type == "float16":
            data = list(queries.astype(np.float16))
        return self._search(
            data,
            k,
            field="vector",
            params=lambda hits: {"metric_type": "IP", "params": _effort(self._spec, hits)},
        )


class MilvusWords(_MilvusIndex):
    """Words in Milvus: BM25 as the server computes it."""

    def search(self, queries: Iterable[str], k: int) -> list[list[Hit]]:
        """Return up to `k` passages of each query, best first; k is at most 16,384."""
        texts = list(check_texts(queries))
        require_whole("k", k, high=_MOST_HITS)
        return self._search(
            texts, k, field="words", params=lambda _: {"metric_type": "BM25", "params": {}}
        )


def _effort(spec: IndexSpec, hits: int) -> dict[str, int]:
    if isinstance(spec.options, HnswOptions):
        return {"ef": max(spec.options.search_effort, hits)}
    if isinstance(spec.options, IvfPqOptions):
        return {"nprobe": spec.options.probes}
    return {}


_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def _among(ids: Sequence[str]) -> str:
    """Return the filter for passages with these ids.

    pymilvus's `get` puts ids between quotes as they are, so that one with a quote breaks out; its
    parameters of filters are for servers from 2.5.
    """
    listed = ", ".join(f'"{id_.translate(_ESCAPES)}"' for id_ in ids)
    return f"id in [{listed}]"


def _parts(values: list[T], size: int) -> list[list[T]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
