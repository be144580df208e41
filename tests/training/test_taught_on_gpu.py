"""recipes/taught_on_gpu.sh, with a stand-in for the hours of training."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes" / "taught_on_gpu.sh"
STAND_IN = """#!/bin/sh
if [ "$3" = convert ]; then cp -r "$4" "$5" && test ! -e "$5/model"; exit; fi
for name in reranker taught; do
    mkdir -p "runs/corom-medical-$name/model"
    echo "$name" > "runs/corom-medical-$name/model/weights"
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

    def script(*arguments):
        command = ["sh", str(SCRIPT), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    return script


@pytest.mark.skipif(shutil.which("split") is None, reason="no split")
def test_models_come_back_in_pieces_and_the_script_may_be_run_again(run, tmp_path):
    run("run", "packed", "new/out")
    run("run", "packed", "new/out")
    shutil.rmtree(tmp_path / "runs")
    run("unpack", "new/out")
    for name in ("reranker", "taught"):
        found = tmp_path / "runs" / f"corom-medical-{name}" / "model" / "weights"
        assert found.read_text() == f"{name}\n"
