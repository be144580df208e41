"""The folder an index lives in: files that never change, and a manifest that is the commit.

A file is written under a new number (`vectors-000007.npy`) and never again; `manifest.json`,
replaced in one step, says which files count. Whatever kills a writer, the folder is the old index
or the new one, and what the manifest does not list is swept away by the next writer. The manifest
holds the size and SHA-256 of every file and a checksum of itself. The convention is tantivy's.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from corom.errors import ArtifactError
from corom.files import LOCK, MANIFEST, read_json_text, write_bytes
from corom.index.collection import Collection
from corom.index.columns import read_columns
from corom.index.segments import open_segment, read_array
from corom.index.spec import IndexSpec

FORMAT = 1
_NO_CHECKSUM = "0" * 64
# What sweep() may delete: what an index is made of, and drafts of atomic_write. No other numbered
# file: it is somebody's.
_MADE = (
    r"(ids|offsets|vectors|codes|scales|ranks|removed)-\d{6,}\.npy|texts-\d{6,}\.jsonl"
    r"|graph-\d{6,}\.faiss|(columns|lexicon)-\d{6,}"
)
_OURS = re.compile(rf"{_MADE}|\.({_MADE}|manifest\.json)\..+\.part")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an index folder holds at one moment."""

    spec: IndexSpec
    complete: bool = False
    """whether the index was finished; until then it can be resumed but not searched"""
    generation: int = 0
    """counts the commits"""
    segments: tuple[int, ...] = ()
    """numbers of the segments, in the order of their rows"""
    rows: int = 0
    """passages in the segments, removed ones included"""
    extras: Mapping[str, str] = field(default_factory=dict)
    """role -> name of the file or folder that belongs to the whole index"""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """name -> {"bytes", "sha256"}"""


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the index in `folder`; ArtifactError if it is none or was changed."""
    path = folder / MANIFEST
    value, text = read_json_text(path)
    if not isinstance(value, dict) or value.get("corom") != "index":
        raise ArtifactError(f"{path} does not describe an index of corom")
    if value.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} has format {value.get('format')!r}, this version of corom reads {FORMAT}; "
            "make the index again, or use the version that made it"
        )
    checksum = str(value.get("checksum"))
    if _digest(text.replace(checksum, _NO_CHECKSUM, 1)) != checksum:
        raise ArtifactError(f"{path} is corrupt: its checksum differs from its content's")
    read = {each.name: value[each.name] for each in fields(Manifest)}
    spec, segments = IndexSpec.from_json(value["spec"]), tuple(value["segments"])
    return Manifest(**{**read, "spec": spec, "segments": segments})


def commit(folder: Path, manifest: Manifest) -> None:
    """Make `manifest` the state of the folder, in one step."""
    value = {
        "checksum": _NO_CHECKSUM,
        "corom": "index",
        "format": FORMAT,
        **vars(manifest),
        "spec": manifest.spec.as_json(),
    }
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    write_bytes(folder / MANIFEST, text.replace(_NO_CHECKSUM, _digest(text), 1).encode("utf-8"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def open_collection(folder: Path, manifest: Manifest) -> Collection:
    """Return the rows an index folder holds, memory-mapped; its files must have been checked."""
    extras = {role: folder / name for role, name in manifest.extras.items()}
    arrays = {role: read_array(extras[role]) for role in ("removed", "ranks") if role in extras}
    columns = extras.get("columns")
    return Collection(
        manifest.spec,
        (open_segment(folder, number) for number in manifest.segments),
        columns=None if columns is None else read_columns(columns, len(manifest.spec.keep)),
        settled=manifest.complete,
        **arrays,
    )


def sweep(folder: Path, manifest: Manifest | None) -> None:
    """Delete what killed or finished writers left: numbered files the manifest does not list."""
    kept = {name.partition("/")[0] for name in manifest.files} if manifest else set()
    for path in folder.iterdir():
        if path.name not in kept and _OURS.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def holds_only_leftovers(folder: Path) -> bool:
    """Whether a folder without a manifest may become an index: it is empty, or one began here."""
    names = {path.name for path in folder.iterdir()}
    return not names or (LOCK in names and all(map(_OURS.fullmatch, names - {LOCK})))


def numbered_files(folder: Path, name: str) -> list[str]:
    """Return the names of the files that a numbered file or folder consists of."""
    path = folder / name
    found = sorted(path.rglob("[!.]*")) if path.is_dir() else [path]
    return [part.relative_to(folder).as_posix() for part in found if part.is_file()]
