"""SIGTERM under load, on a real process and real connections."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

TEXTS = ["头痛发热吃什么药" * n for n in range(1, 17)]
CLIENTS = 16


@pytest.fixture
def process(tiny_checkpoint):
    """`corom serve` on a tiny model, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ("-m", "corom", "serve", "--precision", "fp32", "--threads", "1")
    started = subprocess.Popen(
        [sys.executable, *command, "--model", tiny_checkpoint().folder, "--port", str(port)],
        stderr=subprocess.PIPE,
        env=os.environ | {"COROM_OFFLINE": "1"},
    )
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(started.stderr))
    reader.start()
    try:
        wait_for(port, started)
        started.lines, started.reader = lines, reader
        yield started, port
    finally:
        started.kill()
        started.wait()
        reader.join()
        started.stderr.close()


def wait_for(port, process):
    for _ in range(1200):
        assert process.poll() is None, "the server ended while it started"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not start")


class Client(threading.Thread):
    """Asks again and again on one connection, until told 503 or refused a connection."""

    def __init__(self, port, texts):
        super().__init__()
        self.port, self.texts = port, texts
        self.seen, self.broken = Counter(), []

    def run(self):
        body = json.dumps({"input": self.texts})
        headers = {"content-type": "application/json"}
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.connect()
            except OSError:
                return  # the door is closed: nothing was accepted
            try:
                while not self.ask(connection, body, headers):
                    pass
                if self.seen[503]:
                    return
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                return
            finally:
                connection.close()

    def ask(self, connection, body, headers):
        """Return whether the connection is to be used no more."""
        connection.request("POST", "/v1/embeddings", body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        if answer.status == 200:
            assert len(content["data"]) == len(self.texts)
        self.seen[answer.status] += 1
        return answer.will_close


def test_a_server_that_is_told_to_stop_answers_what_it_took_and_exits_with_0(process):
    server, port = process
    clients = [Client(port, TEXTS * (1 + 4 * (n % 4))) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + 60
    while sum(client.seen[200] for client in clients) < CLIENTS and time.monotonic() < deadline:
        time.sleep(0.01)
    server.send_signal(signal.SIGTERM)
    told = time.monotonic()
    for client in clients:
        client.join()
    assert server.wait(60) == 0
    assert time.monotonic() - told < 30
    seen = sum((client.seen for client in clients), Counter())
    assert [client.broken for client in clients] == [[]] * CLIENTS
    # 429: asked too much of a slow machine before it was told to stop; never accepted.
    assert {200, 503} <= set(seen) <= {200, 429, 503}
    assert seen[503] >= CLIENTS // 2
    server.reader.join()
    log = b"".join(server.lines)
    assert log.count(b"POST /v1/embeddings 200") == seen[200]
    assert b"Traceback" not in log
