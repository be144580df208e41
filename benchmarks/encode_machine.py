"""By which command, on what, with what and when a benchmark ran."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_PACKAGES = (
    *("corom", "openvino", "numpy", "tokenizers", "torch", "sentence-transformers"),
    *("transformers", "optimum", "optimum-onnx", "optimum-intel", "nncf", "onnxruntime"),
    *("fastembed", "faiss-cpu", "tantivy", "bm25s", "numba", "rjieba"),
)
_CHIP = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def describe(*, threads: int) -> dict[str, Any]:
    """Return command, date, git commit, machine and versions."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    pairs = (line.partition(":") for line in info.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    flags = set(fields.get("flags", "").split())
    return {
        "command": command(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cpu": fields.get("model name", platform.processor()),
            "features": [flag for flag in _CHIP if flag in flags],
            "cpus": os.cpu_count(),
            "threads_used": threads,
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "system": platform.platform(),
            "load_average": os.getloadavg()[0],
        },
        "versions": {"python": sys.version.split()[0], **_versions()},
    }


def command() -> str:
    """Return what this process was started with, as it is typed at the root of the repository."""
    return shlex.join(["python", os.path.relpath(sys.argv[0], _ROOT), *sys.argv[1:]])


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            encoding="utf-8",
            check=False,
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", ":/src", ":/benchmarks")
    return git("rev-parse", "HEAD") + (" with changes" if changed else "")
