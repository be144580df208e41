"""A server on this machine, for tests of what downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers, by `answer`, without a word on standard error."""

    server: Any

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        raise NotImplementedError

    def send_body(self, body: bytes, *, upto: int | None = None) -> None:
        """Send a file, or from where the client asks; the connection ends after `upto` bytes."""
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][:upto])


@contextmanager
def serving(handler: type[Handler]) -> Iterator[Any]:
    """Yield a running server; `url` is where, handlers may note in `seen` what they were asked."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url, server.seen = f"http://127.0.0.1:{server.server_port}", []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
