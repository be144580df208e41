"""Tables that tests of several modules write."""

from __future__ import annotations

from pathlib import Path

CANARY = "患者王某某头痛三天"
"""What no message may repeat."""


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    """Return the file that holds the text."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
