"""The servers of the serve benchmark, each a process of its own, stopped while it waits."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from processes import held_mb
from serve_load import Answer, once, post

PLAIN = Path(__file__).with_name("serve_plain.py")
START_S = 300.0


class Spec(NamedTuple):
    """How a server is started; `{model}`, `{port}` and `{peers}` (a bin folder) are filled in."""

    name: str
    command: tuple[str, ...]
    path: str = "/v1/embeddings"


_COROM = (sys.executable, "-m", "corom", "serve", "--model", "{model}", "--port", "{port}")
SPECS = (
    Spec("plain", ("{peers}/python", str(PLAIN), "{model}", "{port}")),
    Spec(
        "infinity",
        (
            *("{peers}/infinity_emb", "v2", "--model-id", "{model}", "--engine", "torch"),
            *("--device", "cpu", "--dtype", "float32", "--no-bettertransformer"),
            *("--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"),
        ),
        path="/embeddings",
    ),
    Spec("corom-int8", (*_COROM, "--precision", "int8")),
    Spec("corom-bf16", (*_COROM, "--precision", "bf16")),
)


class Running:
    """A started server."""

    def __init__(self, spec: Spec, *, model: Path, peers: Path, threads: int, log: Path) -> None:
        self.spec, self.model, self.port = spec, model, _free_port()
        fields = {"model": model, "port": self.port, "peers": peers}
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": str(threads),
            "COROM_OFFLINE": "1",
        }
        with log.open("w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                [part.format(**fields) for part in spec.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        atexit.register(self.close)

    def request(self, texts: list[str]) -> bytes:
        """Return a request for the vectors of texts."""
        return post(self.spec.path, {"input": texts, "model": self.model.name})

    def wait(self) -> float:
        """Return seconds until a first text was answered; raise if the server ends before."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < START_S:
            if self._process.poll() is not None:
                raise ChildProcessError(f"{self.spec.name} ended with {self._process.returncode}")
            try:
                if once(self.port, self.request(["头痛"])).status == 200:
                    return time.perf_counter() - begun
            except (OSError, EOFError):
                time.sleep(0.1)
        raise TimeoutError(f"{self.spec.name} did not start")

    def ask(self, texts: list[str]) -> Answer:
        """Ask once for the vectors of texts."""
        return once(self.port, self.request(texts))

    def resume(self) -> None:
        """Let the server work."""
        self._process.send_signal(signal.SIGCONT)

    def pause(self) -> None:
        """Stop the server, so that it takes nothing from the others."""
        self._process.send_signal(signal.SIGSTOP)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def memory_mb(self, what: str = "VmRSS") -> float:
        """Return the memory the process has (VmHWM: ever had)."""
        return held_mb(self._process.pid)[what]

    def close(self) -> None:
        """End the process."""
        atexit.unregister(self.close)
        self._process.kill()
        self._process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
