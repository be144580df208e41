"""A tiny model behind the whole application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from fastapi.testclient import TestClient

from corom.encoder import Encoder
from corom.reranker import SecondPass
from corom.serving.app import create_app
from corom.serving.collection import Collection
from corom.serving.folders import Folders
from corom.serving.service import Service
from corom.serving.settings import ServeSettings


@pytest.fixture
def encoder(tiny_checkpoint: Callable[..., Any]) -> Encoder:
    return Encoder(tiny_checkpoint(query_prefix="头"), precision="fp32", threads=1)


@pytest.fixture
def serve(encoder: Encoder) -> Iterator[Callable[..., TestClient]]:
    """Start the application and return a client: `serve(timeout_s=1, …)` as ServeSettings."""
    running: list[TestClient] = []

    def start(
        *,
        collection: Collection | None = None,
        folders: Folders | None = None,
        second: SecondPass | None = None,
        **settings: Any,
    ) -> TestClient:
        service = Service(
            encoder,
            collection=collection,
            folders=folders,
            second=second,
            settings=ServeSettings(**settings),
        )
        client = TestClient(
            create_app(service), base_url="http://localhost", raise_server_exceptions=False
        )
        client.service = service
        running.append(client)
        return client.__enter__()

    yield start
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"
