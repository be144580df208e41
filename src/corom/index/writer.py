"""Writing an index folder: resumable at first, all or nothing afterwards.

A first build commits after every `append`; killed, it goes on from `done` when the same writer is
opened again. What changes a finished index (`append`, `remove`) counts only from `finish` on;
until then, and if the writer is killed, everyone sees the index as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from corom.errors import ArtifactError, InputError
from corom.files import MANIFEST, check_manifest, file_entry, writer_lock
from corom.index.collection import Collection
from corom.index.columns import write_columns
from corom.index.folder import (
    Manifest,
    commit,
    holds_only_leftovers,
    numbered_files,
    open_collection,
    read_manifest,
    sweep,
)
from corom.index.merging import join_segments, mergeable
from corom.index.segments import (
    PARTS,
    make_segment,
    open_segment,
    segment_file,
    write_array,
    write_segment,
)
from corom.index.spec import BM25Options, ExactOptions, IndexSpec, differences
from corom.records import Passage
from corom.vectors import Vectors

# Of a segment that is written again: in memory at once.
_ROWS = 1 << 16


def open_writer(folder: Path | str, spec: IndexSpec | None = None) -> IndexWriter:
    """Return a writer for the index in `folder`, which is made if it is not there.

    `spec` says what the index is to be; None takes what is in the folder. Raises ArtifactError
    if the folder holds an index of another spec, something that is no index, a file that was
    changed, or if another writer is at work.
    """
    folder = Path(folder)
    _begun(folder, spec)  # before anything in it is touched
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(writer_lock(folder))
        manifest = _prepared(folder, spec)
        return IndexWriter(folder, manifest, held=stack.pop_all())


def _begun(folder: Path, spec: IndexSpec | None) -> Manifest | None:
    """Return what an index made here begins with, None if there is one already.

    Raises ArtifactError for a folder in which none may be made.
    """
    if (folder / MANIFEST).is_file():
        return None
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{folder} is no folder; choose another name")
    if spec is None:
        raise ArtifactError(f"{folder} holds no index yet; say what it is to be with a spec")
    if folder.exists() and not holds_only_leftovers(folder):
        raise ArtifactError(f"{folder} holds files that are no index; choose another folder")
    return Manifest(spec=spec)


def _prepared(folder: Path, spec: IndexSpec | None) -> Manifest:
    """Return the folder's manifest, checked against `spec`, after sweeping."""
    manifest = _begun(folder, spec)
    if manifest is None:
        manifest = read_manifest(folder)
        if spec is not None:
            require_spec(folder, spec, manifest.spec)
        check_manifest(folder)
    sweep(folder, manifest)
    return manifest


def require_spec(folder: Path | str, wanted: IndexSpec, found: IndexSpec) -> None:
    """Raise ArtifactError, naming what differs, unless the index that was found is the wanted."""
    if different := differences(wanted, found):
        only = [each.partition(":")[0] for each in different] == ["source"]
        raise ArtifactError(
            f"{folder} holds an index of something else ({'; '.join(different)}); "
            + ("if its corpus has changed, update it (corom index --update), " if only else "")
            + "remove it or choose another folder"
        )


class IndexWriter:
    """Adds and removes passages in an index folder; made by `open_writer`, used as a context."""

    def __init__(self, folder: Path, manifest: Manifest, *, held: ExitStack) -> None:
        self._folder, self._manifest, self._held = folder, manifest, held
        self._collection = open_collection(folder, manifest)
        self._changed = not manifest.complete
        if self._changed:
            self._merge()  # a killed writer may not have come to it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder's lock; what was not finished does not count."""
        self._held.close()

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""
        return self._manifest.spec

    @property
    def done(self) -> int:
        """How many passages it holds; a first build that was killed goes on after so many."""
        return len(self._collection)

    @property
    def complete(self) -> bool:
        """Whether the index is finished and nothing has changed since."""
        return not self._changed

    def passages(self) -> Iterator[Passage]:
        """Yield what the index holds, in the order it was appended, read as it is asked for."""
        for _, segment, rows in self._collection.living():
            for row in rows:
                yield segment.passages[row]

    def append(self, passages: Sequence[Passage], vectors: Vectors | None = None) -> None:
        """Add passages, with one vector each, `(n, dim) float32`, unless the index is of words.

        In a first build they are safe on disk when this returns; they need not stay in memory.
        Some thousand at a time are best. Raises InputError, and adds nothing, for an id that is
        in the index or occurs twice, NaN, infinity or wrong shapes.
        """
        segment = make_segment(passages, vectors, spec=self.spec)
        if not len(passages):
            return
        self._collection.require_new(segment.ids)
        number = max(self._manifest.segments, default=0) + 1
        names = write_segment(self._folder, number, segment)
        self._collection.append(open_segment(self._folder, number))
        self._changed = True
        self._manifest = replace(
            self._manifest,
            segments=(*self._manifest.segments, number),
            rows=self._collection.rows,
            files={**self._manifest.files, **self._entries(names)},
        )
        if not self._manifest.complete:
            self._commit()
        self._merge()

    def remove(self, ids: Sequence[str]) -> None:
        """Remove passages from a finished index; InputError for an id that is not there."""
        if not self._manifest.complete:
            raise InputError("passages can be removed from a finished index only; finish it first")
        if len(self._collection.remove(ids)):
            self._changed = True

    def finish(self, *, source: str | None = None, erase: bool = False) -> None:
        """Make what was appended and removed the index that everyone sees.

        Sorts the ids, and builds the graph, the lists or the lexicon of words, in a folder the
        size of the index; nothing to do if nothing has changed. When most of its rows are removed
        ones, all is written again without them; with `erase` when any is, so that no file holds
        what was removed. `source` is the checksum of the corpus that the index is of from now on.
        Raises InputError if an id occurs twice.
        """
        removed = self._collection.rows - len(self._collection)
        if removed > len(self._collection) or (erase and removed):
            self._rewrite()
        spec = self.spec if source is None else replace(self.spec, source=source)
        if self._changed:
            self._make_whole()
        elif spec == self.spec:
            return
        self._manifest = replace(self._manifest, spec=spec)
        self._commit()
        self._changed = False
        sweep(self._folder, self._manifest)

    def _merge(self) -> None:
        """Make one segment of many, as long as there are too many; a build commits each time."""
        while (run := mergeable([len(each.ids) for each in self._collection.segments])) is not None:
            numbers = self._manifest.segments
            number, old = max(numbers) + 1, numbers[run]
            joined = self._collection.segments[run]
            names = join_segments(self._folder, joined, old, into=number)
            self._collection.replace(run, open_segment(self._folder, number))
            gone = {segment_file(part, each) for part in PARTS for each in old}
            kept = {n: entry for n, entry in self._manifest.files.items() if n not in gone}
            self._manifest = replace(
                self._manifest,
                segments=(*numbers[: run.start], number, *numbers[run.stop :]),
                files={**kept, **self._entries(names)},
            )
            if not self._manifest.complete:
                self._commit()
                sweep(self._folder, self._manifest)

    def _rewrite(self) -> None:
        """Write the rows that were not removed as segments of their own, in the place of all."""
        number, numbers = max(self._manifest.segments), list[int]()
        files: dict[str, dict[str, object]] = {}
        for _, segment, rows in self._collection.living():
            for some in (rows[at : at + _ROWS] for at in range(0, len(rows), _ROWS)):
                number += 1
                numbers.append(number)
                names = write_segment(self._folder, number, segment.part(some))
                files.update(self._entries(names))
        self._collection = Collection(
            self.spec, (open_segment(self._folder, each) for each in numbers)
        )
        self._manifest = replace(
            self._manifest,
            segments=tuple(numbers),
            rows=self._collection.rows,
            extras={},
            files=files,
        )
        self._changed = True
        self._merge()

    def _make_whole(self) -> None:
        """Write anew what belongs to the index as a whole, for the manifest to list."""
        extras = self._write_extras(self._manifest.generation + 1)
        outdated = set(self._manifest.extras.values())
        kept = {
            name: entry
            for name, entry in self._manifest.files.items()
            if name.partition("/")[0] not in outdated
        }
        listed = [name for extra in extras.values() for name in numbered_files(self._folder, extra)]
        self._manifest = replace(
            self._manifest,
            complete=True,
            extras=extras,
            files={**kept, **self._entries(listed)},
        )

    def _write_extras(self, number: int) -> dict[str, str]:
        """Write what belongs to the index as a whole; return role -> name."""
        collection, extras = self._collection, {}
        for role in ("columns", "lexicon"):  # of a finish that failed
            shutil.rmtree(self._folder / f"{role}-{number:06d}", ignore_errors=True)
        removed = np.flatnonzero(~collection.alive)
        for role, array in (("ranks", collection.ranks), ("removed", removed)):
            if array is not None and len(array):
                extras[role] = f"{role}-{number:06d}.npy"
                write_array(self._folder / extras[role], array)
        if self.spec.keep:
            extras["columns"] = f"columns-{number:06d}"
            write_columns(collection, self._folder / extras["columns"])
        options = self.spec.options
        if isinstance(options, BM25Options):
            from corom.index.lexicon import Lexicon

            extras["lexicon"] = f"lexicon-{number:06d}"
            Lexicon.build(collection, self._folder / extras["lexicon"], cut=options.cut)
        elif not isinstance(options, ExactOptions):
            from corom.index.ann import LEAST, Neighbours

            if collection.rows >= LEAST:
                extras["graph"] = f"graph-{number:06d}.faiss"
                before = self._manifest.extras.get("graph")
                path = None if before is None else self._folder / before
                Neighbours(collection, path=path).write(self._folder / extras["graph"])
        return extras

    def _entries(self, names: Sequence[str]) -> dict[str, dict[str, object]]:
        return {name: file_entry(self._folder / name) for name in names}

    def _commit(self) -> None:
        self._manifest = replace(self._manifest, generation=self._manifest.generation + 1)
        commit(self._folder, self._manifest)
