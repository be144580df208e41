"""The driver's side of a worker process (see encode_worker.py). Standard library only."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

from encode_backends import Backend
from processes import held_mb

WORKER = Path(__file__).with_name("encode_worker.py")
LIMIT = 1800.0  # seconds an answer may take


class BackendError(Exception):
    """A back end failed; the message is the reason the report gives."""


class Worker:
    """A back end's process. While it waits for a question it is stopped, and takes no CPU."""

    def __init__(self, spec: Backend, model: str, *, threads: int, log: Path) -> None:
        self.spec, self._log = spec, log
        self._started = time.perf_counter()
        command = [sys.executable, str(WORKER), "--backend", spec.name, "--model", model]
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [*command, "--threads", str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            )
        # A stopped process does not notice that its driver is gone.
        atexit.register(self.close)

    def age(self) -> float:
        """Return seconds since the process was started."""
        return time.perf_counter() - self._started

    def load(self) -> dict[str, Any]:
        """Load the model; return seconds and precision."""
        return self._ask({"do": "load"})

    def encode(self, side: str, texts: list[str]) -> float:
        """Encode texts together; return seconds."""
        return cast(float, self._ask({"do": "encode", "side": side, "texts": texts})["seconds"])

    def each(self, side: str, texts: list[str]) -> list[float]:
        """Encode texts one at a time; return the seconds of each."""
        answer = self._ask({"do": "each", "side": side, "texts": texts})
        return cast(list[float], answer["seconds"])

    def vectors(self, side: str, texts: list[str], *, path: Path) -> None:
        """Encode texts and leave their vectors in `path`."""
        self._ask({"do": "vectors", "side": side, "texts": texts, "path": str(path)})

    def peak_memory(self) -> float:
        """Return the most memory the process ever had, in MB (VmHWM)."""
        return held_mb(self._process.pid)["VmHWM"]

    def close(self) -> None:
        """End the process."""
        atexit.unregister(self.close)
        self._process.kill()
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        os.kill(process.pid, signal.SIGCONT)
        limit = threading.Timer(LIMIT, process.kill)
        limit.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            limit.cancel()
        if not line:
            code = process.wait()  # minus a signal: -9 is the system short of memory, or the limit
            raise BackendError(f"its process ended with {code}: {last_line(self._log)}")
        os.kill(process.pid, signal.SIGSTOP)
        answer = cast(dict[str, Any], json.loads(line))
        if "error" in answer:
            raise BackendError(answer["error"])
        return answer


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"
