"""API keys: random, kept as hashes in a text file, read again whenever the file changes.

    # name   SHA-256 of the key
    ward-3   9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

A key has 256 random bits, so its plain SHA-256 cannot be turned back and needs no salt. Delete a
line to revoke a key. A file that cannot be read opens no door: every key is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corom.errors import FormatError, InputError
from corom.files import atomic_write, stamp_of

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_LINE = re.compile(rf"({_NAME.pattern})\s+([0-9a-f]{{64}})", re.ASCII)
_LOOK_AGAIN_S = 1.0
_NEW_MODE = 0o640

_log = logging.getLogger(__name__)


def add_key(file: Path, name: str) -> str:
    """Return a new key for `name`, after adding its hash to `file` (made if it is not there).

    The key itself is kept nowhere: show it once. Several may add at once. The file keeps its owner
    and mode; a new one is read by its owner and group (0640). Raises InputError for a name that is
    taken or that is not of letters, digits, `.`, `_` and `-`, and for a file that is another
    user's; FormatError for a broken file.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"key name {name!r} must be of letters, digits, dots, - and _")
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file):
        text = file.read_text(encoding="utf-8") if file.exists() else "# name, SHA-256 of the key\n"
        if name in _parse(text, file).values():
            raise InputError(f"{file} has a key called {name!r} already; remove its line first")
        key = f"corom-{secrets.token_urlsafe(32)}"
        if text and not text.endswith("\n"):
            text += "\n"
        _replace(file.resolve(), f"{text}{name} {_hash(key)}\n".encode())
    return key


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Wait until nobody else adds to the file: what was read would be old when it is written."""
    import fcntl  # not on Windows, where a server can read keys all the same

    with file.with_name(f".{file.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        yield


def _replace(file: Path, data: bytes) -> None:
    """Write the file in one step, with the owner and mode it has."""
    try:
        with atomic_write(file, mode=_NEW_MODE) as draft:
            if file.exists():
                status = file.stat()
                os.fchown(draft.fileno(), status.st_uid, status.st_gid)
            draft.write(data)
    except PermissionError as error:
        raise InputError(
            f"{file} cannot be written with its owner and group ({error.strerror}); add the key as "
            "its owner or as root"
        ) from None


class KeyRing:
    """The keys in a file; looked at again once a second at most."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = stamp_of(file)  # before: what changes meanwhile is seen
        self._keys = _parse(file.read_text(encoding="utf-8"), file)
        self._looked = time.monotonic()

    def name_of(self, key: str) -> str | None:
        """Return whose key this is, or None; takes equally long for every key."""
        self._refresh()
        given, found = _hash(key), None
        for digest, name in self._keys.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found

    def _refresh(self) -> None:
        if time.monotonic() - self._looked < _LOOK_AGAIN_S:
            return
        self._looked = time.monotonic()
        stamp = stamp_of(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = _parse(self._file.read_text(encoding="utf-8"), self._file)
        except (OSError, UnicodeDecodeError, FormatError) as error:
            self._keys = {}
            _log.error("all keys are refused: %s", error)
        else:
            _log.info("%d keys read again", len(self._keys))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _parse(text: str, file: Path) -> dict[str, str]:
    """Return name by hash."""
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not (match := _LINE.fullmatch(line.strip())):
            raise FormatError("is not a name and a SHA-256", path=file, line=number)
        keys[match[2]] = match[1]
    return keys
