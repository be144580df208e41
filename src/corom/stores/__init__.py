"""Indexes that a server keeps: Milvus (extra `milvus`) and PostgreSQL with pgvector (`postgres`).

index = open_store("milvus://127.0.0.1:19530/medical")      as `open_index` does of a folder
with open_loader(uri, spec) as writer: ...                  as `open_writer` does of a folder

A load that was killed goes on where it stopped; what is searched meanwhile is the index that was
there before, until the new one takes its name in one step.
"""

from corom.stores.base import Store, WordStore
from corom.stores.loading import load_shards
from corom.stores.opening import (
    by_kind,
    open_any,
    open_any_writer,
    open_loader,
    open_store,
)
from corom.stores.uri import is_uri, parse_uri

__all__ = [
    "Store",
    "WordStore",
    "by_kind",
    "is_uri",
    "load_shards",
    "open_any",
    "open_any_writer",
    "open_loader",
    "open_store",
    "parse_uri",
]
