from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import corom

CODE = """
import sys

def watch(event, _):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request", "os.mkdir"):
        print(event, flush=True)

sys.addaudithook(watch)
import corom.engines.openvino_engine, corom.index.scan
import openvino.tools.ovc
assert sys.modules.get("openvino_telemetry") is None
import openvino_telemetry
"""


def test_importing_openvino_tells_nobody_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    # In what a build server sets it is silent by itself.
    ci = ("CI", "TF_BUILD", "JENKINS_URL")
    environment = {name: value for name, value in os.environ.items() if name not in ci}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**environment, "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_imports_it() -> None:
    found = []
    for path in Path(corom.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] == "openvino" for name in names):
                found.append(path.name)
    assert set(found) == {"quiet_openvino.py"}
