"""The folders a collection lies in: opened at the start, and again when an index has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from corom.errors import ArtifactError, InputError
from corom.files import MANIFEST, Stamp, stamp_of
from corom.index import BM25Index, open_index
from corom.index.folder import read_manifest
from corom.serving.collection import Collection


class Folders:
    """Where an index lies, one of words, or one of vectors and one of words."""

    def __init__(self, index: Path | None, words: Path | None) -> None:
        """One of them at least must be given; `words` must be one of words."""
        self._index, self._words = index, words
        self._paths = [path for path in (index, words) if path is not None]
        self._opened: list[Stamp] = []
        self._tried: list[Stamp] = []
        self._first_try = self._next_try = 0.0

    def open(self, *, try_out: Callable[[Collection], None] | None = None) -> Collection:
        """Return the collection as it is now; one that `try_out` refuses counts as not opened.

        Raises InputError for two indexes that do not go together, and what `open_index` raises.
        """
        stamps, now = self._stamps(), time.monotonic()  # before: what changes meanwhile is seen
        if stamps != self._tried:
            self._tried, self._first_try = stamps, now
        self._next_try = now + (now - self._first_try)
        collection = self._collection()
        if try_out is not None:
            try_out(collection)
        self._opened = stamps
        return collection

    def _collection(self) -> Collection:
        name = self._paths[0].resolve().name
        index = None if self._index is None else open_index(self._index)
        words = None if self._words is None else open_index(self._words)
        if words is not None and not isinstance(words, BM25Index):
            raise InputError(f"{self._words} is not an index of words; make one with --model bm25")
        if not isinstance(index, BM25Index):
            return Collection(name, vectors=index, words=words)
        if words is not None:
            raise InputError(
                f"{self._index} is an index of words itself; --words needs one of vectors"
            )
        return Collection(name, words=index)

    def is_current(self) -> bool:
        """Return whether what was opened last is what lies there."""
        return self._stamps() == self._opened

    def changed(self) -> bool:
        """Return whether an index is not the one that was opened last, and all are finished.

        What could not be opened, as it was being copied perhaps, is to be tried again: each time
        after as long as it has been tried for.
        """
        stamps = self._stamps()
        if stamps == self._opened or not all(map(_is_finished, self._paths)):
            return False
        return stamps != self._tried or time.monotonic() >= self._next_try

    def _stamps(self) -> list[Stamp]:
        return [stamp_of(path / MANIFEST) for path in self._paths]


def _is_finished(folder: Path) -> bool:
    try:
        return read_manifest(folder).complete
    except (ArtifactError, OSError):  # it is being made anew
        return False
