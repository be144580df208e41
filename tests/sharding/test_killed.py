"""kill -9 of workers and of the driver at random moments: the result is that of a quiet run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from corom.sharding import ShardSpec, encode_shards
from sharding.corpora import write_corpus
from sharding.killed import run
from sharding.test_encoding import contents, spec
from sharding_kills import workers_of

__all__ = ["spec"]
KILLS = 6


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc, to find workers")
def test_workers_and_drivers_killed(spec: ShardSpec, tmp_path: Path) -> None:
    source = str(write_corpus(tmp_path / "c.jsonl"))
    encode_shards(source, tmp_path / "quiet", spec=spec)
    folder = tmp_path / "killed"
    context = multiprocessing.get_context("spawn")
    rng = np.random.default_rng(5)
    kills: list[str] = []
    driver = None
    while len(kills) < KILLS:
        if driver is None or not driver.is_alive():
            assert driver is None or driver.exitcode == -9, "done before it could be killed"
            driver = context.Process(target=run, args=(source, folder, spec, 2))
            driver.start()
        deadline = time.monotonic() + 60
        while not (workers := workers_of(driver.pid or 0)) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        if len(kills) % 3 == 2:
            driver.kill()
            driver.join()
            kills.append("driver")
            while any(map(alive, workers)) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not any(map(alive, workers)), "workers outlived their driver"
        else:
            with suppress(ProcessLookupError):  # it has just ended: no kill
                os.kill(int(rng.choice(workers)), signal.SIGKILL)
                kills.append("worker")
    if driver is not None:
        driver.join()
    encode_shards(source, folder, spec=spec, workers=2)
    assert contents(folder) == contents(tmp_path / "quiet")
    assert set(kills) == {"driver", "worker"}
