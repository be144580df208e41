"""Drafts: what a file or a folder is until it is whole, beside the place it is for."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = 48
"""characters of a file's name that its draft's begins with"""


@contextmanager
def draft_of(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield an empty draft of `path`, a file or a `folder`, gone afterwards unless it was renamed.

    It is locked, and the system lets go of a lock whatever kills us: a draft of `path` that
    nobody holds was left by a killed writer, and is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may be as long as the system allows, its draft's may not be longer.
    prefix = f".{path.name[:_NAME]}."
    _sweep(path.parent, re.compile(re.escape(prefix) + r"[a-z0-9_]{8}\.part"))
    draft, lock = _locked_draft(path.parent, prefix, folder=folder)
    try:
        yield draft
    finally:
        _remove(draft)
        os.close(lock)


def _locked_draft(parent: Path, prefix: str, *, folder: bool) -> tuple[Path, int]:
    """Return a new draft and the handle that holds its lock."""
    import fcntl  # not on Windows, where nothing is written

    while True:
        if folder:
            name = tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=parent)
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=parent)
            os.close(handle)
        with suppress(FileNotFoundError):  # swept already: it was not locked yet
            lock = os.open(name, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks, where nothing is swept either
                fcntl.flock(lock, fcntl.LOCK_SH)
            if os.path.lexists(name):
                return Path(name), lock
            os.close(lock)


def _sweep(folder: Path, names: re.Pattern[str]) -> None:
    """Remove the drafts of such names that nobody holds."""
    import fcntl

    found: list[Path] = []
    with suppress(PermissionError):  # a folder that can be written to and not listed
        found = [path for path in folder.iterdir() if names.fullmatch(path.name)]
    for path in found:
        with suppress(OSError):  # it is held, gone by now, another user's, or cannot be locked
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
