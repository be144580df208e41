"""recipes/on_gpu.sh, with a stand-in for the minutes of training."""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes" / "on_gpu.sh"
KINDS = {
    "generated": ("corom-medical-generated", "corom-medical-generated-reranker"),
    "taught": ("corom-medical-reranker", "corom-medical-taught"),
}
STAND_IN = """#!/bin/sh
if [ "$3" = convert ]; then cp -r "$4" "$5" && test ! -e "$5/model"; exit; fi
for recipe; do
    name=$(basename "$recipe" .toml)
    [ "$name" != "$recipe" ] || continue
    mkdir -p "runs/$name/model"
    echo "$name" > "runs/$name/model/weights"
done
"""


@pytest.fixture
def run(tmp_path):
    """Run the script with what it calls python3 replaced."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(STAND_IN)
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "packed").mkdir()
    packed = tmp_path / "packed" / "pairs.jsonl.xz"
    packed.write_bytes(lzma.compress(b"{}\n"))

    def script(*arguments):
        command = ["sh", str(SCRIPT), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    return script


@pytest.mark.skipif(not (shutil.which("split") and shutil.which("xz")), reason="no split or no xz")
@pytest.mark.parametrize("kind", KINDS)
def test_models_come_back_in_pieces_and_the_script_may_be_run_again(run, tmp_path, kind):
    run(kind, "packed", "new/out")
    run(kind, "packed", "new/out")
    shutil.rmtree(tmp_path / "runs")
    run("unpack", "new/out")
    for name in KINDS[kind]:
        found = tmp_path / "runs" / name / "model" / "weights"
        assert found.read_text() == f"{name}\n"
