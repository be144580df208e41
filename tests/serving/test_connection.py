"""What a connection may send before it is a request, and how long it may take, on real sockets."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from fastapi import Response

from corom.encoder import Encoder
from corom.serving import server as server_module
from corom.serving.server import Server
from corom.serving.service import Service
from corom.serving.settings import ServeSettings

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
LARGE = 16 << 20
"""bytes: more than the buffers of two sockets"""

SLOW, WAITED = 2.5, 1
"""seconds an answer takes, and uvicorn would wait by itself here"""


@pytest.fixture
def listen(encoder: Encoder) -> Iterator[Callable[..., Any]]:
    """Start a server: `listen(timeout_s=1)` as ServeSettings; `.port`, `.door`, `.stop`."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(*, idle_s: int = 30, **settings: Any) -> Any:
        service = Service(encoder, settings=ServeSettings(port=0, **settings))
        server = Server(service)
        server.config.timeout_graceful_shutdown = WAITED
        server.config.timeout_keep_alive = idle_s
        server.config.app.add_api_route("/large", lambda: Response(bytes(LARGE)))
        server.config.app.add_api_route("/static/slow", lambda: time.sleep(SLOW))
        thread = threading.Thread(target=server.run)
        running.append((server, thread))
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server ended while it started"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        return SimpleNamespace(port=port, door=service.door, stop=server.handle_exit, thread=thread)

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


def connect(port: int) -> socket.socket:
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    opened.settimeout(20)
    opened.connect(("127.0.0.1", port))
    return opened


def rest(opened: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    found = b""
    try:
        while block := opened.recv(1 << 16):
            found += block
    except ConnectionError:
        pass  # closed while we still sent
    return found


def health(opened: socket.socket, end: bytes = b"\r\n") -> None:
    """Ask whether the server is well, and read the whole answer, in however many pieces."""
    opened.sendall(HEALTH + end)
    found = b""
    while not found.endswith(b"ok\n"):
        block = opened.recv(1000)
        assert block, "the connection was closed"
        found += block
    assert found.startswith(b"HTTP/1.1 200 ")


def send_for_ever(opened: socket.socket, block: bytes) -> int:
    """Return how many bytes were sent until the server closed the connection."""
    sent = 0
    try:
        while sent < LARGE:
            opened.sendall(block)
            sent += len(block)
            time.sleep(0.001)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize("block", [b"x: " + b"a" * 4000 + b"\r\n", b"a" * 4000])
def test_headers_that_do_not_end_are_cut_off(listen: Callable[..., Any], block: bytes) -> None:
    with closing(connect(listen().port)) as opened:
        opened.sendall(HEALTH + b"y: ")
        assert send_for_ever(opened, block) < 1 << 20


def test_headers_that_are_too_large_are_told(listen: Callable[..., Any]) -> None:
    with closing(connect(listen().port)) as opened:
        opened.sendall(HEALTH + b"y: " + b"a" * (82 << 10))
        assert rest(opened).startswith(b"HTTP/1.1 431 ")


def test_headers_within_the_limit_are_read(listen: Callable[..., Any]) -> None:
    with closing(connect(listen().port)) as opened:
        for _ in range(3):
            health(opened, b"y: " + b"a" * (63 << 10) + b"\r\n\r\n")


def test_what_follows_the_last_chunk_is_cut_off(listen: Callable[..., Any]) -> None:
    ask = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    with closing(connect(listen().port)) as opened:
        opened.sendall(ask)
        assert send_for_ever(opened, b"x: " + b"a" * 4000 + b"\r\n") < 1 << 20


@pytest.mark.parametrize("first", [b"", HEALTH])
def test_who_does_not_end_a_request_is_cut_off(listen: Callable[..., Any], first: bytes) -> None:
    port, begun = listen(timeout_s=0.5).port, time.monotonic()
    with closing(connect(port)) as opened:
        opened.sendall(first)
        found = rest(opened)
        assert 0.4 < time.monotonic() - begun < 10
        assert found == b""


def test_who_sends_a_request_byte_by_byte_is_cut_off(listen: Callable[..., Any]) -> None:
    port, begun = listen(timeout_s=0.5).port, time.monotonic()
    with closing(connect(port)) as opened:
        opened.sendall(HEALTH + b"x: ")
        with suppress(ConnectionError):
            while time.monotonic() - begun < 15:
                opened.sendall(b"a")
                time.sleep(0.05)
        assert 0.4 < time.monotonic() - begun < 10


def test_a_connection_that_asks_nothing_more_is_closed(listen: Callable[..., Any]) -> None:
    with closing(connect(listen(idle_s=1).port)) as opened:
        health(opened)
        assert rest(opened) == b""


def test_who_does_not_end_a_second_request_is_cut_off(listen: Callable[..., Any]) -> None:
    with closing(connect(listen(timeout_s=0.5).port)) as opened:
        health(opened)
        opened.sendall(HEALTH)
        begun = time.monotonic()
        assert rest(opened) == b""
        assert time.monotonic() - begun < 10


def test_a_body_larger_than_the_limit_of_headers_is_read(listen: Callable[..., Any]) -> None:
    body = b"[" * 300_000
    head = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with closing(connect(listen().port)) as opened:
        opened.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body + HEALTH + b"\r\n")
        found = b""
        while b"ok\n" not in found:
            found += opened.recv(1 << 16)
        assert b"HTTP/1.1 422" in found or b"HTTP/1.1 400" in found


def test_no_more_connections_than_there_is_room_for(
    listen: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_IDLE_CONNECTIONS", 0)
    port = listen(max_requests=3).port
    held = [connect(port) for _ in range(3)]
    with closing(connect(port)) as more:
        assert rest(more) == b""
    held[0].sendall(HEALTH + b"\r\n")
    assert held[0].recv(1000).startswith(b"HTTP/1.1 200 ")
    held.pop().close()
    end, answer = time.monotonic() + 10, b""
    while not answer and time.monotonic() < end:  # until the server has seen it close
        with closing(connect(port)) as again:
            again.sendall(HEALTH + b"connection: close\r\n\r\n")
            answer = rest(again)
    assert answer.startswith(b"HTTP/1.1 200 ")
    for opened in held:
        opened.close()


@pytest.mark.parametrize("keep", [b"keep-alive", b"close"])
def test_an_answer_that_nobody_reads_is_given_up(listen: Callable[..., Any], keep: bytes) -> None:
    """Until then it is inside: whoever reads slowly takes the place of a request."""
    server = listen(timeout_s=0.5)
    with closing(connect(server.port)) as opened:
        opened.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: %s\r\n\r\n" % keep)
        assert opened.recv(100).startswith(b"HTTP/1.1 200 ")
        assert server.door.inside == 1
        end = time.monotonic() + 10
        while server.door.inside and time.monotonic() < end:
            time.sleep(0.02)
        assert server.door.inside == 0
        assert len(rest(opened)) < LARGE


def test_an_answer_that_is_read_slowly_is_whole(listen: Callable[..., Any]) -> None:
    with closing(connect(listen(timeout_s=5).port)) as opened:
        opened.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        found = 0
        while block := opened.recv(1 << 18):
            found += len(block)
            time.sleep(0.02)
        assert found > LARGE


@pytest.mark.parametrize("path", [b"/static/slow", b"/large"])
def test_an_answer_that_is_under_way_is_whole_when_the_server_stops(
    listen: Callable[..., Any], path: bytes
) -> None:
    """One that does not count as inside, and one that is read slowly."""
    server = listen()
    with closing(connect(server.port)) as opened:
        opened.sendall(b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n" % path)
        time.sleep(0.2)
        server.stop(signal.SIGTERM, None)
        found = b""
        while block := opened.recv(1 << 16):
            found += block
            time.sleep(0.004)
        assert found.startswith(b"HTTP/1.1 200 ")
        assert len(found) > (LARGE if path == b"/large" else 0)
    server.thread.join(10)
    assert not server.thread.is_alive()
