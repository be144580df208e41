"""torchrun with two processes, of which one is killed: both start again from the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.models.checkpoint import load_checkpoint

from .conftest import log_of
from .test_finetune import table

__all__ = ["table"]
pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPT = """
import json, os, signal, sys, threading, time
from pathlib import Path
import torch
from corom.training import loop
from corom.training.finetune import train
from corom.training.tables import from_table
from corom.training.settings import TrainSettings
torch.set_num_threads(1)
rank, again = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
settings = from_table(TrainSettings, json.loads(Path(sys.argv[1]).read_text()))
folder = Path(settings.output)
write = loop.save_state
def save(target, *args, progressed, **options):
    with (Path(sys.argv[1]).parent / f"{folder.name}.saves").open("a") as file:
        file.write(f"{again} {rank} {progressed.step}\\n")
    return write(target, *args, progressed=progressed, **options)
loop.save_state = save
def die():
    while not list(folder.glob("checkpoints/step-*/manifest.json")):
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGKILL)
if (rank, again, sys.argv[2]) == ("1", "0", "die"):
    threading.Thread(target=die, daemon=True).start()
train(settings)
"""


def test_a_killed_process_brings_both_back(table, run_python, tmp_path: Path) -> None:
    runs = {}
    for name, fate in (("quiet", "live"), ("killed", "die")):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(table(name, optimizer={"max_steps": 30, "epochs": 9})))
        done = run_python(SCRIPT, str(path), fate, processes=2, restarts=1)
        assert done.returncode == 0, done.stderr[-3000:]
        lines = (tmp_path / f"{name}.saves").read_text().splitlines()
        runs[name] = [tuple(map(int, line.split())) for line in lines]
    assert {(again, rank) for again, rank, _ in runs["quiet"]} == {(0, 0)}
    # One process alone writes checkpoints; the second start goes on behind the first's.
    assert {(again, rank) for again, rank, _ in runs["killed"]} == {(0, 0), (1, 0)}
    before = max(step for again, _, step in runs["killed"] if not again)
    assert 2 <= before < min(step for again, _, step in runs["killed"] if again)
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "quiet")
    found, wanted = (
        load_checkpoint(tmp_path / name / "model").load_weights() for name in ("killed", "quiet")
    )
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
