"""The modules that a sentence-transformers folder lists in its modules.json."""

from __future__ import annotations

from pathlib import Path

from corom.errors import ArtifactError
from corom.files import read_json

_KNOWN = [
    ["Transformer", "Pooling", *dense, *normalize]
    for dense in ([], ["Dense"])
    for normalize in ([], ["Normalize"])
]


def module_paths(path: Path) -> list[tuple[str, str]]:
    """Return each module of a modules.json, in order, with its folder.

    Old (`sentence_transformers.models.Pooling`) and new paths end in the same class names.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ArtifactError(f"{path} must hold a list of modules")
    return [
        (str(entry.get("type")).rpartition(".")[2], str(entry.get("path") or ""))
        for entry in entries
    ]


def read_modules(path: Path) -> dict[str, str]:
    """Return module -> its folder; ArtifactError for modules, or an order, that are not read."""
    entries = module_paths(path)
    modules, names = dict(entries), [name for name, _ in entries]
    if names not in _KNOWN:
        raise ArtifactError(
            f"{path} lists {', '.join(names) or 'nothing'}; corom reads Transformer, Pooling and "
            "then perhaps one Dense and Normalize"
        )
    if modules["Transformer"]:
        raise ArtifactError(
            f"{path}: the Transformer lies in {modules['Transformer']!r}; move its files up, "
            "beside modules.json, and empty that path"
        )
    if "Dense" in modules and Path(modules["Dense"]).name != (modules["Dense"] or "."):
        raise ArtifactError(
            f"{path}: the Dense lies in {modules['Dense']!r}; put it into a folder beside "
            "modules.json"
        )
    return modules
