"""Files that are never half written.

A file is written to a temporary sibling, fsynced and renamed; a folder gets its `manifest.json`
(name, size and SHA-256 of every file) last and is renamed into place as a whole. A reader
therefore sees the old state or the new one, whatever kills the writer; what a killed writer left
goes when the same name is written again. A link stays one: the file it leads to is replaced. What
is no file (/dev/stdout, a pipe) is written to as it is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from typing import IO, Any, TypeAlias

from corom.drafts import draft_of
from corom.errors import ArtifactError

MANIFEST, LOCK = "manifest.json", ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Stamp: TypeAlias = tuple[int, int, int] | None
"""inode, size and time of a file, by which one that was replaced is known; None: there is none"""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits (about 1 s per GB)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp_of(path: Path) -> Stamp:
    """Return what differs if the file at `path` is another than it was."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_write(path: Path, *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Yield a binary file that becomes `path` when the block ends, or never was if it raises.

    A file that is replaced hands on who may read it; `mode`, less the umask, is for a new one.
    """
    path = Path(path)
    if _is_stream(path):
        with path.open("ab") as device:
            yield device
        return
    if path.is_symlink():
        path = path.resolve()
    with _naming(path), draft_of(path) as draft:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(S_IMODE(path.stat().st_mode) if path.exists() else mode & ~_umask())
        draft.replace(path)
        _sync(path.parent)


def _is_stream(path: Path) -> bool:
    """Whether it is there and not to be replaced: a pipe, a device, whatever /dev/stdout is."""
    if path.is_dir() or not path.exists():
        return False
    # Not all below /dev: what lies in /dev/shm are files as others.
    return not path.is_file() or str(path.parent) in ("/dev", "/dev/fd", "/proc/self/fd")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let the system's error that the disk is full, which names no file, name this one."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path)
        raise


def _umask() -> int:
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        if found := re.search(r"^Umask:\s*([0-7]+)$", status, re.MULTILINE):
            return int(found[1], 8)
    # Elsewhere the mask can only be read by setting it, for all threads.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_write(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever json can write
    """Write `value` to `path` as readable JSON, atomically."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends, manifest and all.

    An existing target is refused: replacing a folder cannot be done in one step everywhere.
    What must change in place commits by replacing one file (see the index's manifest).
    """
    target = Path(target)
    require_new(target)
    with draft_of(target, folder=True) as draft:
        yield draft
        publish(draft, target)


def require_new(target: Path) -> None:
    """Raise ArtifactError if there is anything at `target`, be it a link that leads nowhere.

    And OSError where nothing can be, as under a name that is too long: before hours of work.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        target.lstat()
        raise ArtifactError(f"{target} exists already; remove it or choose another name")


def publish(draft: Path, target: Path) -> None:
    """Let a folder on the same disk become `target`, with a manifest, in one step."""
    draft.chmod(0o777 & ~_umask())
    for path in draft.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~_umask())  # safetensors writes files that only the owner reads
    write_manifest(draft)
    try:
        draft.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise ArtifactError(f"{target} was made by another process meanwhile") from None
    _sync(target.parent)


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's write lock; ArtifactError if another process or thread has it.

    The system lets go of it when the process ends, however it ends.
    """
    import fcntl  # not on Windows, where folders can be read all the same

    with (folder / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(
                f"{folder} is being written by another process; wait until it has finished"
            ) from None
        yield


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: name, size and SHA-256 of every other file below `folder`, fsynced."""
    entries = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST:
            _sync(path)
            entries[name] = file_entry(path)
    write_json(folder / MANIFEST, {"files": entries})


def file_entry(path: Path) -> dict[str, Any]:
    """Return what a manifest says of a finished file."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever json holds
    """Return what a JSON file holds; raise ArtifactError naming the file when it is broken."""
    return read_json_text(path)[0]


def read_object(path: Path, *, missing_ok: bool = False) -> dict[str, Any]:
    """Return the JSON object in a file, as `read_json`; `{}` if it is missing and `missing_ok`."""
    if missing_ok and not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} must hold a JSON object, not {type(value).__name__}")
    return value


def read_json_text(path: Path) -> tuple[Any, str]:
    """Return what a JSON file holds, and its text at that moment; raises as `read_json` does."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text), text
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}); fetch or make it again") from None


def check_manifest(
    folder: Path,
    *,
    deep: bool = True,
    names: Collection[str] | None = None,
    missing_ok: bool = False,
) -> None:
    """Raise ArtifactError naming the first file that is missing, of another size or changed.

    `deep=False` compares sizes only (no reading). `names` checks these files alone, if listed.
    A folder without a manifest is refused, or passes if that is `missing_ok`.
    """
    for name, entry in manifest_entries(folder, missing_ok=missing_ok).items():
        if names is not None and name not in names:
            continue
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; its folder's manifest lists it")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise ArtifactError(f"{path} has {size} bytes, its manifest says {entry['bytes']}")
        if deep and sha256(path) != entry["sha256"]:
            raise ArtifactError(f"{path} is corrupt: its checksum differs from its manifest's")


def manifest_entries(folder: Path, *, missing_ok: bool = False) -> dict[str, Any]:
    """Return what a folder's manifest says of each file: see `file_entry`."""
    path = folder / MANIFEST
    if missing_ok and not path.is_file():
        return {}
    value = read_json(path)
    entries = value.get("files") if isinstance(value, dict) else None
    if not isinstance(entries, dict) or not all(map(_says_all, entries.values())):
        raise ArtifactError(
            f"{path} is no manifest: it must say bytes and sha256 of each file; fetch or make the "
            "folder again"
        )
    return entries


def _says_all(entry: object) -> bool:
    kinds = {"bytes": int, "sha256": str}
    return isinstance(entry, dict) and all(type(entry.get(k)) is kinds[k] for k in kinds)
