"""What Linux says of processes (/proc): what they hold, and whom they started.

Imports next to nothing: what measures its own start asks, too.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def held_mb(process: int | str = "self") -> dict[str, float]:
    """Return the MB of a process by the names of /proc/PID/status; none of one that has ended.

    VmRSS: now; VmHWM: the most it ever had; RssAnon: by itself; RssFile: mapped from files, which
    the system takes back when it needs it.
    """
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    fields = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) / 1024 for name, _, value in fields}


def memory_mb() -> dict[str, float]:
    """Return what this process holds: by itself, of mapped files, and the most it ever had."""
    held = held_mb()
    return {
        name: round(held[field], 1)
        for name, field in (("own", "RssAnon"), ("mapped", "RssFile"), ("peak", "VmHWM"))
    }


def children(process: int) -> list[int]:
    """Return the processes that a process started."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it has just ended
            found += map(int, path.read_text("utf-8").split())
    return found


def family(process: int) -> list[int]:
    """Return a process and its descendants."""
    return [process, *(one for child in children(process) for one in family(child))]
