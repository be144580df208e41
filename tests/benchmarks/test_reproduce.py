"""make reproduce: compares, skips, records; results/regressions.json is well-formed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "reproduce.py"


@pytest.fixture
def file(tmp_path: Path, tiny_checkpoint: Callable) -> Path:
    """A data set, and regressions with one entry for it and one for a set that is not there."""
    folder, model = tmp_path / "data" / "tiny", tiny_checkpoint().folder
    folder.mkdir(parents=True)
    (folder / "corpus.tsv").write_text("1\t糖尿病饮食\n2\t头痛发热\n", encoding="utf-8")
    (folder / "dev.query.txt").write_text("1\t糖尿病\n", encoding="utf-8")
    (folder / "qrels.dev.tsv").write_text("1\t0\t1\t1\n", encoding="utf-8")
    common = {"model": {"name": "m"}, "expected": {}, "tolerance": 1e-6}
    command = f"corom evaluate {{data}}/tiny --split dev --model {model} --precision fp32"
    here = {"name": "here", "command": command, "dataset": {"name": "tiny"}, **common}
    gone = {"name": "gone", "command": command, "dataset": {"name": "gone"}, **common}
    path = tmp_path / "regressions.json"
    path.write_text(json.dumps({"regressions": [here, gone]}), encoding="utf-8")
    return path


def reproduce(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    work, data = file.with_name("work"), file.with_name("data")
    command = [sys.executable, SCRIPT, "--file", file, "--data", data, "--work", work, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_was_recorded_is_reproduced(file: Path) -> None:
    assert reproduce(file, "--record").returncode == 0
    written = json.loads(file.read_text(encoding="utf-8"))
    here = written["regressions"][0]
    assert set(here["expected"]["dev"]) == {"MRR@10", "Recall@1000", "nDCG@10", "MAP"}
    assert len(here["dataset"]["checksum"]) == 64
    assert len(here["model"]["fingerprint"]) == 16
    done = reproduce(file)
    assert done.returncode == 0, done.stderr
    assert "gone                         skipped: there is no" in done.stdout
    assert "every figure is as it was" in done.stdout

    here["expected"]["dev"]["MRR@10"] += 1e-5
    here["dataset"]["checksum"] = "0"
    file.write_text(json.dumps(written), encoding="utf-8")
    done = reproduce(file, "--only", "here")
    assert done.returncode == 1
    assert "off by more than" in done.stdout
    assert "here: dataset is" in done.stdout
    assert "gone" not in done.stdout
    assert reproduce(file, "--only", "none").returncode == 1


def test_the_published_figures_are_well_formed() -> None:
    content = json.loads((ROOT / "results" / "regressions.json").read_text(encoding="utf-8"))
    entries = content["regressions"]
    assert len({entry["name"] for entry in entries}) == len(entries) > 0
    for entry in entries:
        assert set(entry) == {"name", "command", "dataset", "model", "expected", "tolerance"}
        assert entry["command"].startswith(f"corom evaluate {{data}}/{entry['dataset']['name']}")
        assert entry["command"].endswith(f"--model {entry['model']['name']}")
        assert len(entry["dataset"]["checksum"]) == 64
        assert 0 < entry["tolerance"] < 0.01
        for split, measures in entry["expected"].items():
            assert f"--split {split} " in entry["command"]
            assert all(math.isfinite(v) and -1 <= v <= 1 for v in measures.values())
