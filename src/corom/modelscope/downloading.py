"""Data sets of ModelScope and Hugging Face: found in the cache, or their .jsonl files downloaded.

Code is never fetched, so data sets that a script assembles have to bring their rows as .jsonl.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlencode

from corom.downloads import fetch, fetch_missing
from corom.environment import (
    modelscope_data_cache,
    modelscope_endpoint,
    modelscope_token,
    offline_variable,
)
from corom.errors import ArtifactError, DownloadError, InputError
from corom.extras import need
from corom.files import read_json, write_json
from corom.readers.lines import COMPRESSIONS, plain_name

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_STATE = ".corom.json"
_PAGE = 100


def from_modelscope(name: str, *, revision: str | None = None) -> Path:
    """Return the folder of the data set `owner/name`, its .jsonl files downloaded if need be.

    The folder is the one ModelScope's own downloads use; a revision gets a folder of its own.
    Raises DownloadError when the hub does not deliver, or has no .jsonl files.
    """
    _check(name, revision)
    folder = modelscope_data_cache() / (f"{name}@{revision}" if revision else name)
    if _is_complete(folder):
        return folder
    _refuse_offline(name, looked_in=folder)
    lock = folder.with_name(f".{folder.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with need("filelock", extra="hub").FileLock(lock):
        if not _is_complete(folder):
            _fetch(name, folder, revision=revision or "master")
    return folder


def _fetch(name: str, folder: Path, *, revision: str) -> None:
    token = modelscope_token()
    headers = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"}
    given = headers if token else None
    address = f"{modelscope_endpoint()}/api/v1/datasets"
    about = _answer(f"{address}/{name}", name=name, headers=given)
    entries = [
        entry
        for entry in _listed(f"{address}/{about.get('Id')}/repo/tree", name, revision, given)
        if _is_rows(str(entry.get("Path")))
    ]
    if not entries:
        raise DownloadError(
            f"{name} has no .jsonl file on ModelScope at revision {revision}; download its data "
            'by hand and load the folder, or try hub="huggingface"'
        )
    targets = [_inside(folder, str(entry["Path"])) for entry in entries]
    write_json(folder / _STATE, {"name": name, "revision": revision, "complete": False})
    for entry, target in zip(entries, targets, strict=True):
        asked = {"Source": "SDK", "Revision": revision, "FilePath": entry["Path"], "View": "False"}
        fetch_missing(
            f"{address}/{name}/repo?{urlencode(asked)}",
            target,
            size=entry.get("Size"),
            sha256=entry.get("Sha256") or None,
            headers=given,
        )
    write_json(folder / _STATE, {"name": name, "revision": revision, "complete": True})


def _inside(folder: Path, path: str) -> Path:
    """Return where a file of the hub's list goes; DownloadError if that is not in the folder."""
    relative = PurePosixPath(path)
    target = folder / relative
    outside = relative.is_absolute() or ".." in relative.parts
    if outside or not target.resolve().is_relative_to(folder.resolve()):
        raise DownloadError(
            f"the data set lists {path!r}, which lies outside of its folder; nothing was fetched: "
            "tell whoever keeps it"
        )
    return target


def _listed(
    address: str, name: str, revision: str, headers: dict[str, str] | None
) -> Iterator[dict[str, Any]]:
    """Yield the entries of all pages of the hub's list: `{"Files": [{"Path", "Size", …}]}`."""
    page, length = 1, _PAGE
    while length == _PAGE:
        asked = {"Revision": revision, "Root": "/", "Recursive": "True"}
        query = urlencode({**asked, "PageNumber": page, "PageSize": _PAGE})
        files = _answer(f"{address}?{query}", name=name, headers=headers).get("Files") or []
        yield from (entry for entry in files if isinstance(entry, dict))
        page, length = page + 1, len(files)


def _answer(url: str, *, name: str, headers: dict[str, str] | None) -> dict[str, Any]:
    """Return the `Data` of one of the hub's answers."""
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "answer.json"
        fetch(url, target, headers=headers)
        try:
            found = read_json(target)["Data"]
        except (ArtifactError, KeyError, TypeError):
            found = None
    if not isinstance(found, dict):
        raise DownloadError(f"ModelScope knows no data set {name}; check its page")
    return found


def from_hugging_face(name: str, *, revision: str | None = None) -> Path:
    """Return the folder of the Hugging Face data set `owner/name` in huggingface_hub's cache.

    Raises DownloadError when the hub does not deliver, or has no .jsonl files.
    """
    _check(name, revision)
    hub, errors = (need(f"huggingface_hub{part}", extra="hub") for part in ("", ".errors"))
    patterns = [f"*.jsonl{packed}" for packed in ("", *COMPRESSIONS)]
    local = offline_variable() is not None
    try:
        found = hub.snapshot_download(
            name,
            repo_type="dataset",
            revision=revision,
            allow_patterns=patterns,
            local_files_only=local,
        )
    except (errors.HTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise DownloadError(
            f"the data set {name} could not be fetched ({type(error).__name__}); check name, "
            "revision and connection, and HF_TOKEN if it is private"
        ) from None
    folder = Path(found)
    if not any(_is_rows(path.name) for path in folder.rglob("*")):
        raise DownloadError(f"{name} has no .jsonl file on Hugging Face")
    return folder


def _is_rows(path: str) -> bool:
    return plain_name(path).endswith(".jsonl")


def _is_complete(folder: Path) -> bool:
    if (folder / _STATE).is_file():
        return bool(read_json(folder / _STATE).get("complete"))
    return folder.is_dir() and any(_is_rows(path.name) for path in folder.rglob("*"))


def _check(name: str, revision: str | None) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is neither a file, nor a folder, nor a data set's name as in owner/name"
        )
    if revision is not None and (not re.fullmatch(r"\w[\w./-]*", revision) or ".." in revision):
        raise InputError(f"version {revision!r} cannot be a tag, branch or commit")


def _refuse_offline(name: str, *, looked_in: Path) -> None:
    if (variable := offline_variable()) is not None:
        raise DownloadError(
            f"{name} is not in {looked_in}, and {variable} forbids a download; unset it, or copy "
            "the data there"
        )
