"""Model folders: read, checked, converted, written, found by name."""

from __future__ import annotations

from pathlib import Path

EMBEDDED = "corom-medical"
"""The model that comes inside the package."""


def lasting_name(name: str) -> str:
    """Return the name by which the same model is found from any folder: of a folder its path."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name
