"""Opening and loading an index wherever it is: a folder, Milvus, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from corom.errors import InputError
from corom.index import open_index, open_writer
from corom.index.building import Writer
from corom.index.spec import IndexSpec
from corom.stores.base import Store, WordStore
from corom.stores.retrying import DEADLINE
from corom.stores.uri import is_uri, parse_uri


def open_store(uri: str, *, deadline: float = DEADLINE) -> Store | WordStore:
    """Return the index a URI names; see `stores.uri` for what a URI is.

    `deadline`: seconds an operation may take. Raises InputError for the URI, ArtifactError when
    there is no such index, ServiceError when the server does not answer in time.
    """
    address = parse_uri(uri)
    if address.kind == "milvus":
        from corom.stores.milvus import open_milvus

        return open_milvus(address, deadline=deadline)
    from corom.stores.postgres import PostgresStore

    return PostgresStore.open(address, deadline=deadline)


def open_loader(uri: str, spec: IndexSpec, *, deadline: float = 300.0) -> Writer:
    """Return what loads an index of `spec` to where a URI names, as a context.

    `deadline`: seconds a batch may take, restarts of the server included. Raises InputError for
    the URI or what the server cannot do, ArtifactError when another load is at work, ServiceError
    when the server does not answer in time.
    """
    address = parse_uri(uri)
    if spec.keep:
        raise InputError("an index on a server keeps no columns; make the spec without keep")
    if address.kind == "milvus":
        from corom.stores.milvus_loading import MilvusLoader

        return MilvusLoader(address, spec, deadline=deadline)
    from corom.stores.postgres_loading import PostgresLoader

    return PostgresLoader(address, spec, deadline=deadline)


def open_any(place: str | Path, *, deadline: float = DEADLINE) -> Store | WordStore:
    """Return the index in a folder or at a URI."""
    text = str(place)
    return open_store(text, deadline=deadline) if is_uri(text) else open_index(Path(text))


def open_any_writer(place: str | Path, spec: IndexSpec) -> Writer:
    """Return what fills the index in a folder or at a URI."""
    text = str(place)
    return open_loader(text, spec) if is_uri(text) else open_writer(Path(text), spec)


def by_kind(index: Store | WordStore) -> tuple[Store | None, WordStore | None]:
    """Return an index as one of vectors or as one of words; the other is None."""
    if index.spec.is_words:
        return None, cast("WordStore", index)
    return cast("Store", index), None
