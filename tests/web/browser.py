"""Debian's Chromium, headless, on a server of our own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Without these it tries to reach hosts on the net at every start.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def installed() -> bool:
    """Whether there is a Chromium."""
    return shutil.which("chromium") is not None


def service(*, second: Any = None, **settings: Any) -> Any:
    """Return the embedded model over the bundled passages, and its card."""
    from corom.encoder import Encoder
    from corom.serving.collection import bundled_collection
    from corom.serving.service import Service
    from corom.serving.settings import ServeSettings

    encoder = Encoder.load()
    card = (Path(encoder.folder) / "README.md").read_text(encoding="utf-8")
    return Service(
        encoder,
        collection=bundled_collection(encoder),
        second=second,
        card=card,
        settings=ServeSettings(port=0, **settings),
    )


def over(passages: Any, *, encoder: Any, dense: bool = True, **settings: Any) -> Any:
    """Return `encoder` over an index of words of these passages, and one of vectors if `dense`."""
    from corom.index import BM25Index, VectorIndex
    from corom.serving.collection import Collection
    from corom.serving.service import Service
    from corom.serving.settings import ServeSettings

    words, vectors = BM25Index.new(), None
    if dense:
        vectors = VectorIndex.for_encoder(encoder)
    if passages:
        words.add(passages)
    if passages and vectors is not None:
        vectors.add(passages, encoder.encode_passages(each.content for each in passages))
    return Service(
        encoder,
        collection=Collection("few", vectors=vectors, words=words),
        settings=ServeSettings(port=0, **settings),
    )


@contextmanager
def serving(service: Any) -> Iterator[str]:
    """Serve from another thread; yield the address."""
    from corom.serving.server import Server

    server = Server(service)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended while it started"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield Playwright's browser, with a fresh profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = shutil.which("chromium") or "chromium"
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
