"""kill -9 at random moments, for `bench_sharding.py`; Linux only (/proc)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from processes import children


class Killer:
    """Starts a driver, kills it or its workers so many times, and starts it again until it is done.

    The moments: when a random share of the `shards`, from none to eight tenths, is in `folder`, and
    up to `seconds` later. One kill in three, by chance, is of the driver.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        folder: Path,
        *,
        kills: int,
        shards: int,
        seconds: float,
        seed: int,
    ) -> None:
        self._start, self._folder = start, folder
        self._rng = rng = np.random.default_rng(seed)
        self._moments = sorted(rng.uniform(0, 0.8 * shards, kills))
        self._moments[0] = 0  # the first while the shards are still planned
        self._waits = rng.uniform(0, seconds, kills)
        self._kinds = rng.permutation(["driver" if n % 3 == 2 else "worker" for n in range(kills)])

    def run(self) -> list[tuple[float, str]]:
        """Return when what was killed; every kill hit a process that was alive."""
        begun, driver, log = time.perf_counter(), self._start(), []
        for moment, wait, kind in zip(self._moments, self._waits, self._kinds, strict=True):
            while sum(1 for _ in self._folder.glob("receipt-*.json")) < int(moment):
                _require(driver.is_alive(), "the driver ended by itself")
                time.sleep(0.01)
            time.sleep(wait)
            if kind == "driver":
                driver.kill()
                driver.join()
                _require(driver.exitcode == -signal.SIGKILL, "done before all kills were dealt")
                driver = self._start()
            else:
                self._kill_worker(driver)
            log.append((time.perf_counter() - begun, str(kind)))
        driver.join()
        _require(driver.exitcode == 0, f"the last driver ended with {driver.exitcode}")
        return log

    def _kill_worker(self, driver: Any) -> None:  # noqa: ANN401 - a process
        end = time.monotonic() + 120
        while time.monotonic() < end:
            _require(driver.is_alive(), "done before all kills were dealt")
            if workers := workers_of(driver.pid):
                with suppress(ProcessLookupError):  # it has just ended by itself: another
                    os.kill(int(self._rng.choice(workers)), signal.SIGKILL)
                    return
            time.sleep(0.01)
        raise RuntimeError("the driver started no worker in 120 s")


def workers_of(driver: int) -> list[int]:
    """Return the worker processes that a driver started."""
    begun = children(driver)
    return [each for each in begun if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def _require(right: bool, trouble: str) -> None:
    if not right:
        raise RuntimeError(trouble)
