"""What benchmarks share: where things lie, options, ratios, tables, and on what they ran.

Standard library only: some benchmarks time how long a process takes to start.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
DATA = SHARED / "data/eval/open-medical"
BASE = SHARED / "models/bge-small-zh-v1.5"
CORES = os.cpu_count() or 1
_PACKAGES = (
    *("corom", "openvino", "numpy", "tokenizers", "torch", "sentence-transformers"),
    *("transformers", "optimum", "optimum-onnx", "optimum-intel", "nncf", "onnxruntime"),
    *("fastembed", "faiss-cpu", "tantivy", "bm25s", "numba", "rjieba"),
)
_CHIP = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def command_line(doc: str, result: str = "") -> argparse.ArgumentParser:
    """Return a parser that shows `doc` and takes the file the figures go to.

    By default they go to `result` in results/, nowhere if that is empty. The option has each of
    the names that commands in results/ call it by.
    """
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names, default = ("--json", "--out", "--output"), ROOT / "results" / result if result else None
    made.add_argument(*names, type=Path, default=default, metavar="FILE", help="for the figures")
    return made


def say(text: str) -> None:
    """Print to standard error, at once."""
    print(text, file=sys.stderr, flush=True)


def spread(above: Iterable[float], below: Iterable[float]) -> dict[str, float]:
    """Return how many times `below` something is, round by round: median, least and most."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table, numbers to four digits; lists give their least."""
    cells = [{key: _cell(value) for key, value in _flat(row).items()} for row in rows]
    lines = [list(cells[0]) if cells else [], *(list(row.values()) for row in cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in row.items():
        if isinstance(value, dict):
            found |= {f"{key} {name}": inner for name, inner in _flat(value).items()}
        else:
            found[key] = value
    return found


def _cell(value: Any) -> str:  # noqa: ANN401 - any cell
    value = min(value) if isinstance(value, list) else value
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe(*, threads: int = CORES) -> dict[str, Any]:
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
    return shlex.join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])


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
