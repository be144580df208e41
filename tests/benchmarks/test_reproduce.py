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
MEASURES = {"MRR@10", "Recall@1000", "nDCG@10", "MAP"}


@pytest.fixture
def file(tmp_path: Path, tiny_checkpoint: Callable) -> Path:
    """A data set and pairs, and regressions with entries for them and for a set that is gone."""
    pytest.importorskip("tantivy")
    data, model = tmp_path / "data", tiny_checkpoint().folder
    (data / "tiny").mkdir(parents=True)
    (data / "tiny/corpus.tsv").write_text("1\t糖尿病饮食\n2\t头痛发热\n", encoding="utf-8")
    (data / "tiny/dev.query.txt").write_text("1\t糖尿病\n2\t发热\n", encoding="utf-8")
    (data / "tiny/qrels.dev.tsv").write_text("1\t0\t1\t1\n2\t0\t1\t2\n", encoding="utf-8")
    (data / "pairs").mkdir()
    (data / "pairs/same.tsv").write_text("糖尿病\t饮食\t1\n头痛\t发热\t0\n", encoding="utf-8")
    tolerance = {"bm25": 1e-6, str(model): 1e-6}

    def entry(name: str, rest: str) -> dict[str, object]:
        command = f"corom evaluate {{data}}/{name} {rest} --model {model} --precision fp32"
        dataset = {"dataset": {"name": name}, "models": {}, "results": []}
        return {"name": name, "command": command, "tolerance": tolerance, **dataset}

    ranked = "--split dev --model bm25"
    entries = [entry("tiny", ranked), entry("pairs", "--split same"), entry("gone", ranked)]
    path = tmp_path / "results" / "regressions.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"regressions": entries}), encoding="utf-8")
    return path


def reproduce(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    work, data = file.parents[1] / "work", file.parents[1] / "data"
    command = [sys.executable, SCRIPT, "--file", file, "--data", data, "--work", work, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_was_recorded_is_reproduced(file: Path) -> None:
    done = reproduce(file, "--record")
    assert done.returncode == 0, done.stderr
    written = json.loads(file.read_text(encoding="utf-8"))
    tiny, pairs, _ = written["regressions"]
    words, vectors = tiny["results"]
    assert set(words["expected"]) == set(vectors["expected"]) == set(words["intervals"]) == MEASURES
    assert "p_values" not in words
    assert set(vectors["p_values"]) == MEASURES
    assert words["expected"]["MRR@10"] == 0.5
    assert [len(each) for each in tiny["models"].values()] == [0, 16]
    assert len(tiny["dataset"]["checksum"]) == 64
    assert tiny["ir_measures_differs_by"] <= 1e-9
    assert b"<svg" in (file.parent / "recall-tiny.svg").read_bytes()
    assert set(pairs["results"][0]["expected"]) == {"AUC", "Spearman"}
    done = reproduce(file)
    assert done.returncode == 0, done.stderr
    assert "gone             skipped: there is no" in done.stdout
    assert "every figure is as it was" in done.stdout

    words["expected"]["MRR@10"] += 1e-5
    tiny["dataset"]["checksum"] = "0"
    file.write_text(json.dumps(written), encoding="utf-8")
    done = reproduce(file, "--only", "tiny")
    assert done.returncode == 1
    assert "off by more than" in done.stdout
    assert "tiny: dataset is" in done.stdout
    assert "gone" not in done.stdout
    assert reproduce(file, "--only", "none").returncode == 1


def test_the_published_figures_are_well_formed() -> None:
    content = json.loads((ROOT / "results" / "regressions.json").read_text(encoding="utf-8"))
    entries = content["regressions"]
    assert len({entry["name"] for entry in entries}) == len(entries) > 0
    for entry in entries:
        assert entry["command"].startswith(f"corom evaluate {{data}}/{entry['dataset']['name']} ")
        assert len(entry["dataset"]["checksum"]) == 64
        assert entry["tolerance"].keys() == entry["models"].keys()
        assert all(0 < tolerance < 0.01 for tolerance in entry["tolerance"].values())
        assert entry.get("ir_measures_differs_by", 0) <= 1e-9
        for name in entry["models"]:
            assert f"--model {name}" in entry["command"]
        assert len(entry["results"]) == len(entry["models"]) * entry["command"].count("--split")
        for row in entry["results"]:
            assert f"--split {row['split']} " in entry["command"]
            assert row["model"] in entry["models"]
            assert all(math.isfinite(v) and -1 <= v <= 1 for v in row["expected"].values())
