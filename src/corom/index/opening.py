"""Opening the index in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from corom.errors import ArtifactError
from corom.files import MANIFEST, check_manifest
from corom.index.bm25 import BM25Index
from corom.index.folder import Manifest, open_collection, read_manifest
from corom.index.spec import IndexSpec
from corom.index.vector_index import VectorIndex

Index: TypeAlias = VectorIndex | BM25Index


def open_index(
    folder: Path | str,
    *,
    fingerprint: str | None = None,
    dim: int | None = None,
    normalized: bool | None = None,
    deep: bool = True,
) -> Index:
    """Return the index in `folder`, as it is now: what is written later is not seen.

    `fingerprint`, `dim` and `normalized` are what the encoder of the queries has; an index of
    vectors made with others is refused. `deep` reads every file to compare its checksum (about
    1 s per GB); False compares sizes only. Raises ArtifactError naming the file that is missing
    or was changed, or the two values that differ.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{folder} holds no index")
    while True:
        manifest = read_manifest(folder)
        try:
            index = _open(folder, manifest, deep=deep)
        except (ArtifactError, FileNotFoundError):
            # A writer may have committed meanwhile and swept the files away: then look again.
            if read_manifest(folder).generation == manifest.generation:
                raise
        else:
            _require(folder, index.spec, fingerprint=fingerprint, dim=dim, normalized=normalized)
            return index


def _open(folder: Path, manifest: Manifest, *, deep: bool) -> Index:
    if not manifest.complete:
        raise ArtifactError(
            f"{folder} holds an index that was not finished ({manifest.rows} passages so far); "
            "run the command that makes it again: it goes on from there"
        )
    check_manifest(folder, deep=deep)
    collection = open_collection(folder, manifest)
    extras = {role: folder / name for role, name in manifest.extras.items()}
    if manifest.spec.is_words:
        return BM25Index(collection, lexicon=extras.get("lexicon"))
    return VectorIndex(collection, neighbours=extras.get("graph"))


def _require(folder: Path, spec: IndexSpec, **wanted: object) -> None:
    if spec.is_words:
        return
    for name, value in wanted.items():
        found = getattr(spec, name)
        if value is not None and value != found:
            raise ArtifactError(
                f"{folder} was made with {name} {found!r}, the encoder has {value!r}; "
                "use the encoder it was made with, or make the index again"
            )
