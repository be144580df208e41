"""kill -9 at random moments leaves the old state or the new one; the rerun gives the same."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from pathlib import Path

import pytest

from corom.encoder import Encoder
from corom.readers import Dataset
from evaluation.killed import run

KILLS = 30


class Job:
    """`corom evaluate` with all its outputs, in processes forked from one that has everything."""

    def __init__(self, data: Path, model: Path, folder: Path) -> None:
        self.folder = folder
        self.context = multiprocessing.get_context("forkserver")
        preload = ["evaluation.killed", "corom.cli.evaluate", "corom.evaluation", "ir_measures"]
        preload += ["corom.engines.openvino_engine", "corom.index.scan", "rich.progress"]
        self.context.set_forkserver_preload(preload)
        outputs = ["--runs", folder, "--json", folder / "o.json", "--markdown", folder / "o.md"]
        self.arguments = ["evaluate", data, "-s", "dev", "-m", model, "--work", folder / "work"]
        self.arguments += ["--precision", "fp32", "--threads", 1, *outputs]

    def start(self) -> multiprocessing.process.BaseProcess:
        receive, send = self.context.Pipe(duplex=False)
        process = self.context.Process(target=run, args=([str(a) for a in self.arguments], send))
        process.start()
        send.close()
        receive.recv_bytes()
        receive.close()
        return process

    def finish(self) -> float:
        """Run to the end and return how many seconds it took."""
        process = self.start()
        started = time.perf_counter()
        process.join()
        assert process.exitcode == 0
        return time.perf_counter() - started

    def outputs(self) -> dict[str, object]:
        """What the job wrote, whole or not at all, but for how long it took."""
        found: dict[str, object] = {}
        for path in self.folder.glob("[!.]*.*"):
            if path.suffix != ".json":
                found[path.name] = path.read_bytes()
                continue
            report = json.loads(path.read_text(encoding="utf-8"))
            found[path.name] = [{**r, "seconds": None} for r in report["results"]]
        return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="needs forked processes"
)
def test_killed_at_thirty_moments(data: Dataset, encoder: Encoder, tmp_path: Path) -> None:
    rng = random.Random(5)  # noqa: S311

    def job(name: str) -> Job:
        return Job(data.path, encoder.folder, tmp_path / name)

    first = job("whole")
    seconds = first.finish()
    expected = first.outputs()
    assert len(expected) == 3
    kills = unfinished = 0
    for attempt in range(100):
        if kills >= KILLS:
            break
        killed = job(f"killed-{attempt}")
        for _ in range(5):
            process = killed.start()
            process.join(rng.uniform(0, seconds))
            kills += process.exitcode is None
            process.kill()
            process.join()
            outputs = killed.outputs()
            assert outputs.items() <= expected.items()
            unfinished += bool(list(killed.folder.glob("work/*/*.npy"))) and outputs != expected
        killed.finish()
        assert killed.outputs() == expected
    assert kills >= KILLS
    assert unfinished  # kills came in the middle of things, too
