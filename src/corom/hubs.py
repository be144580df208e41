"""What models and data sets share on their way from a hub to a folder of its cache."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlencode

from corom.downloads import fetch, fetch_missing
from corom.environment import (
    modelscope_cache,
    modelscope_endpoint,
    modelscope_token,
    offline_variable,
)
from corom.errors import ArtifactError, DownloadError, InputError
from corom.extras import need
from corom.files import read_object, write_json

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
"""`owner/name`"""
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)
_STATE = ".corom.json"

Kind: TypeAlias = Literal["models", "datasets"]
_ASKED: Mapping[Kind, Mapping[str, str]] = {
    "models": {},
    "datasets": {"Source": "SDK", "View": "False"},
}
"""of the hub for a file, besides its path and revision"""


class DownloadProgress(NamedTuple):
    """How far a download is; `file` is the repository where the hub counts all files together."""

    file: str
    done: int
    """Bytes there are so far."""
    total: int | None
    """Bytes there will be, if known."""


Progress: TypeAlias = Callable[[DownloadProgress], None]


def check_revision(revision: str | None) -> None:
    """Raise InputError for what cannot be a tag, branch or commit of a hub."""
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InputError(f"revision {revision!r} cannot be a tag, branch or commit")


def refuse_offline(name: str, *, looked_in: Path, download: bool = True) -> None:
    """Raise DownloadError where `name`, which is not in `looked_in`, must not be downloaded."""
    if not download:
        raise DownloadError(f"{name} is not in {looked_in}, and downloading was not allowed")
    if (variable := offline_variable()) is not None:
        raise DownloadError(
            f"{name} is not in {looked_in}, and {variable} forbids a download; unset it, or put a "
            "copy there"
        )


def downloaded(
    kind: Kind,
    name: str,
    *,
    revision: str | None,
    listed: Callable[[str, str], Sequence[Mapping[str, Any]]],
    holds: Callable[[Path], bool],
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of a repository on ModelScope, with the files `listed` if need be.

    There is no need if the folder `holds` what it must and no download of ours was interrupted in
    it. Of processes that ask at once one fetches; what it finds by size and SHA-256 it keeps.
    `listed` is given name and revision; an entry says `Path`, and perhaps `Size` and `Sha256`.
    Raises InputError for a revision that cannot be one, DownloadError when the hub must not be
    asked, does not deliver, or lists what lies outside of the folder.
    """
    check_revision(revision)
    folder = _folder(modelscope_cache(kind), name, revision)
    if _is_complete(folder, holds):
        return folder
    refuse_offline(name, looked_in=folder, download=download)
    lock = folder.with_name(f".{folder.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with need("filelock", extra="hub").FileLock(lock):
        if not _is_complete(folder, holds):  # another process may have fetched it meanwhile
            branch = revision or "master"
            targets = [(each, _inside(folder, str(each["Path"]))) for each in listed(name, branch)]
            state = {"source": "modelscope", "name": name, "revision": branch}
            write_json(folder / _STATE, {**state, "complete": False})
            for entry, target in targets:
                asked = {**_ASKED[kind], "Revision": branch, "FilePath": entry["Path"]}
                fetch_missing(
                    _address(f"{kind}/{name}/repo", asked),
                    target,
                    size=entry.get("Size"),
                    sha256=entry.get("Sha256") or None,
                    headers=_headers(),
                    progress=_of_file(entry["Path"], progress),
                )
            write_json(folder / _STATE, {**state, "complete": True})
    return folder


def _folder(cache: Path, name: str, revision: str | None) -> Path:
    """Return where ModelScope itself keeps a repository; a revision gets a folder of its own."""
    owner, _, own = name.partition("/")
    own = own.replace(".", "___")
    return cache / owner / (f"{own}@{revision.replace('/', '___')}" if revision else own)


def _is_complete(folder: Path, holds: Callable[[Path], bool]) -> bool:
    state = read_object(folder / _STATE, missing_ok=True)  # none where another library fetched it
    return (not state or bool(state.get("complete"))) and holds(folder)


def _inside(folder: Path, path: str) -> Path:
    """Return where a file of the hub's list goes; DownloadError if that is not in the folder."""
    relative = PurePosixPath(path)
    target = folder / relative
    outside = relative.is_absolute() or ".." in relative.parts
    if outside or not target.resolve().is_relative_to(folder.resolve()):
        raise DownloadError(
            f"the hub lists {path!r}, which lies outside of its folder; nothing was fetched: tell "
            "whoever keeps it"
        )
    return target


def _of_file(path: str, progress: Progress | None) -> Callable[[int, int | None], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(DownloadProgress(path, done, total))


def answer_of_modelscope(route: str, **asked: object) -> Any:  # noqa: ANN401 - what JSON holds
    """Return the `Data` that ModelScope's API gives at a route; None if it gives none."""
    with tempfile.TemporaryDirectory() as temporary:
        answer = Path(temporary) / "answer.json"
        fetch(_address(route, asked), answer, headers=_headers())
        try:
            return read_object(answer).get("Data")
        except ArtifactError:  # a page to log in, perhaps
            return None


def _address(route: str, asked: Mapping[str, object]) -> str:
    query = f"?{urlencode(asked)}" if asked else ""
    return f"{modelscope_endpoint()}/api/v1/{route}{query}"


def _headers() -> dict[str, str]:
    """Return what lets the user in.

    Old routes read the cookie, new ones the header: modelscope_hub sends both.
    """
    token = modelscope_token()
    return {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
