"""Data sets of ModelScope and Hugging Face: found in the cache, or their .jsonl files downloaded.

Code is never fetched, so data sets that a script assembles have to bring their rows as .jsonl.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corom.environment import offline_variable
from corom.errors import DownloadError, InputError
from corom.extras import need
from corom.hubs import (
    REPOSITORY,
    answer_of_modelscope,
    check_revision,
    downloaded,
    refuse_offline,
)
from corom.readers.compression import COMPRESSIONS, plain_name

_PAGE = 100


def from_modelscope(name: str, *, revision: str | None = None) -> Path:
    """Return the folder of the data set `owner/name`, its .jsonl files downloaded if need be.

    The folder is the one ModelScope's own downloads use; a revision gets a folder of its own.
    Raises DownloadError when the hub does not deliver, or has no .jsonl files.
    """
    _require_name(name)
    return downloaded("datasets", name, revision=revision, listed=_listed, holds=_holds_rows)


def _listed(name: str, revision: str) -> list[dict[str, Any]]:
    number = _answer(f"datasets/{name}", name=name).get("Id")
    entries = _entries(f"datasets/{number}/repo/tree", name=name, revision=revision)
    found = [entry for entry in entries if is_rows(str(entry.get("Path")))]
    if not found:
        raise DownloadError(
            f"{name} has no .jsonl file on ModelScope at revision {revision}; download its data "
            'by hand and load the folder, or try hub="huggingface"'
        )
    return found


def _entries(route: str, *, name: str, revision: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of all pages of the hub's list: `{"Files": [{"Path", "Size", …}]}`."""
    page, length = 1, _PAGE
    while length == _PAGE:
        asked = {"Revision": revision, "Root": "/", "Recursive": "True"}
        answer = _answer(route, name=name, **asked, PageNumber=page, PageSize=_PAGE)
        files = answer.get("Files") or []
        yield from (entry for entry in files if isinstance(entry, dict))
        page, length = page + 1, len(files)


def _answer(route: str, *, name: str, **asked: object) -> dict[str, Any]:
    found = answer_of_modelscope(route, **asked)
    if not isinstance(found, dict):
        raise DownloadError(f"ModelScope knows no data set {name}; check its page")
    return found


def from_hugging_face(name: str, *, revision: str | None = None) -> Path:
    """Return the folder of the Hugging Face data set `owner/name` in huggingface_hub's cache.

    Raises DownloadError when the hub does not deliver, or has no .jsonl files.
    """
    _require_name(name)
    check_revision(revision)
    hub, errors, constants = (
        need(f"huggingface_hub{part}", extra="hub") for part in ("", ".errors", ".constants")
    )
    patterns = [f"*.jsonl{packed}" for packed in ("", *COMPRESSIONS)]
    try:
        found = hub.snapshot_download(
            name,
            repo_type="dataset",
            revision=revision,
            allow_patterns=patterns,
            local_files_only=offline_variable() is not None,
        )
    except (errors.HTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        refuse_offline(name, looked_in=Path(constants.HF_HUB_CACHE))
        raise DownloadError(
            f"the data set {name} could not be fetched ({type(error).__name__}); check name, "
            "revision and connection, and HF_TOKEN if it is private"
        ) from None
    folder = Path(found)
    if not _holds_rows(folder):
        raise DownloadError(f"{name} has no .jsonl file on Hugging Face")
    return folder


def is_rows(path: str) -> bool:
    """Whether a file holds rows, by its name: a .jsonl, plain or compressed."""
    return plain_name(path).endswith(".jsonl")


def _holds_rows(folder: Path) -> bool:
    return any(is_rows(path.name) for path in folder.rglob("*"))


def _require_name(name: str) -> None:
    if not REPOSITORY.fullmatch(name):
        raise InputError(
            f"{name!r} is neither a file, nor a folder, nor a data set's name as in owner/name"
        )
