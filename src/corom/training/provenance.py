"""What made an artefact: settings, versions, checksums of data and models, the git commit.

`settings.json` is written when a run begins. A run that is entered again must have been asked
for the same thing with the same data, or it is refused.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from corom.errors import InputError
from corom.files import (
    LOCK,
    MANIFEST,
    atomic_folder,
    check_manifest,
    read_json,
    sha256,
    write_json,
)
from corom.readers import open_dataset
from corom.training.tables import as_table

SETTINGS, DATA, REPORT = "settings.json", "data.json", "report.json"
_PATTERNS = ("weights", "pool")
_PACKAGES = ("corom", "torch", "accelerate", "numpy", "tokenizers", "safetensors")


def checksums(paths: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each data file or dataset folder (about 1 s per GB)."""
    found = {}
    for path in dict.fromkeys(paths):
        where = Path(path)
        if not where.exists():
            raise InputError(f"{path} does not exist; check the path in the settings")
        found[path] = open_dataset(where).checksum() if where.is_dir() else sha256(where)
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and of what computes."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the commit of the repository the command runs in, "+" if it has changes; or None."""
    git = shutil.which("git")
    if git is None:
        return None
    asked = [git, "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() or None


def begin(
    folder: Path,
    settings: Any,  # noqa: ANN401 - any settings dataclass
    *,
    inputs: Mapping[str, str],
) -> None:
    """Write `settings.json` into a new run's folder, or check it against that of an old one.

    `inputs` are the checksums of the data and the fingerprints of the models. Raises InputError
    naming the first setting or input that is not what the run in `folder` began with. A folder with
    no more than its settings and the report of its data is none yet: it begins anew.
    """
    asked = {"settings": as_table(settings), "inputs": dict(inputs)}
    path = folder / SETTINGS
    held = {each.name for each in folder.iterdir()} - {LOCK} if folder.exists() else set()
    if SETTINGS not in held or held <= {SETTINGS, DATA}:
        if held and SETTINGS not in held:
            raise InputError(f"{folder} is not empty and holds no run; choose another output")
        write_json(path, {**asked, "versions": versions(), "git": git_commit()})
        return
    found = read_json(path)
    for part, values in asked.items():
        if different := first_difference(found.get(part), values):
            raise InputError(
                f"{folder} holds a run with other {part} ({different}); choose another output, "
                "or remove it to start anew"
            )


def made_once(
    folder: Path,
    made_of: Mapping[str, Any],
    write: Callable[[Path], Mapping[str, Any]],
    *,
    record: str = REPORT,
) -> dict[str, Any]:
    """Return what the file `record` says of a folder: what it is made of, and what `write` said.

    `write` fills an empty folder, which appears whole or not at all; one that is there, made of the
    same, is left as it is. Raises InputError naming the first difference where it was made of
    anything else, ArtifactError if a file is not what it was.
    """
    if (folder / MANIFEST).exists():
        check_manifest(folder)
    else:
        with atomic_folder(folder) as draft:
            write_json(draft / record, {**made_of, **write(draft)})
    found: dict[str, Any] = read_json(folder / record)
    if different := first_difference({key: found.get(key) for key in made_of}, made_of):
        raise InputError(
            f"{folder} was made otherwise ({different}); choose another output, or remove it to "
            "make it anew"
        )
    return found


def first_difference(one: Any, other: Any, *, at: str = "") -> str:  # noqa: ANN401 - JSON
    """Return where two JSON values differ, or "" where they do not.

    Of tables the order does not count, but of patterns: the first that matches does.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            name = f"{at}.{key}" if at else key
            if found := first_difference(one.get(key), other.get(key), at=name):
                return found
        ordered = at.rpartition(".")[2] in _PATTERNS
        return f"the order of {at}" if ordered and list(one) != list(other) else ""
    return "" if one == other else at or "all of it"
