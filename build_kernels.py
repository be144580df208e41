"""Build hook: compiles the int8 kernels into the wheel where the machine can.

They are for Linux on x86_64. Without a C compiler, or with one that fails, the wheel is built
without them: OpenVINO computes int8 then, and `corom doctor` says so.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "src/corom/engines/native"
LIBRARY = "encoder.so"
FLAGS = (
    *("-O2", "-shared", "-fPIC", "-fno-strict-aliasing", "-Wall", "-Wextra"),
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mfma", "-mf16c"),
)


class KernelsHook(BuildHookInterface):
    """What hatchling calls before it packs a wheel (or makes an editable one)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile in the source folder; a wheel with kernels is for this platform only."""
        folder = Path(self.root) / FOLDER
        if problem := compile_into(folder):
            (folder / LIBRARY).unlink(missing_ok=True)
            self.app.display_warning(f"corom is built without its int8 kernels: {problem}")
            return
        build_data["force_include"][str(folder / LIBRARY)] = f"corom/engines/native/{LIBRARY}"
        build_data["pure_python"] = False
        system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{system}"


def obstacle() -> str | None:
    """Return why the kernels cannot be compiled here, None if they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"they are for Linux on x86_64, not {sys.platform} on {platform.machine()}"
    if shutil.which(_compiler()[0]) is None:
        return f"there is no C compiler ({_compiler()[0]})"
    return None


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or "cc")


def compile_into(folder: Path) -> str | None:
    """Compile; return why that was not possible, None if it was."""
    if reason := obstacle():
        return reason
    # Beside the target and renamed: a running process keeps the library it has.
    draft = folder / f".{LIBRARY}.{os.getpid()}"
    command = [*_compiler(), *FLAGS, "encoder.c", "-o", draft.name, "-lm", "-lpthread"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        draft.unlink(missing_ok=True)
        return f"{_compiler()[0]} failed\n{done.stderr}"
    draft.replace(folder / LIBRARY)
    return None
