"""Model folders from ModelScope and Hugging Face: found in the cache, or downloaded.

Only what corom reads is fetched: configuration, tokenizer, card and safetensors, or
`pytorch_model.bin` where there are no safetensors (of a Dense, which is small, both); never code.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
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
from corom.files import read_json, write_json
from corom.models.weights import INT8, PICKLED, weight_files

FILES = (
    *("config.json", "configuration.json", "modules.json", "[0-9]_Pooling/config.json"),
    *(f"[0-9]_Dense/{name}" for name in ("config.json", "model.safetensors", PICKLED)),
    *("sentence_bert_config.json", "config_sentence_transformers.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    *("special_tokens_map.json", "added_tokens.json"),
    *("manifest.json", "README.md", "LICENSE", "NOTICE"),
    *("model.safetensors", "model.safetensors.index.json", "model-*.safetensors", INT8),
)
"""What is fetched of a repository, if it is there."""

_STATE = ".corom.json"
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)


class DownloadProgress(NamedTuple):
    """How far a download is; `file` is the repository where the hub counts all files together."""

    file: str
    done: int
    """Bytes there are so far."""
    total: int | None
    """Bytes there will be, if known."""


Progress: TypeAlias = Callable[[DownloadProgress], None]


def from_modelscope(
    name: str,
    *,
    revision: str | None = None,
    cache: Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of the ModelScope model `owner/name` (see `names.resolve`).

    The cache is ModelScope's own, so models it fetched are found; a pinned revision gets a folder
    of its own, `name@revision`. Files are checked against the SHA-256 the hub states.
    """
    _check_revision(revision)
    root = modelscope_cache() if cache is None else Path(cache)
    owner, _, model = name.replace(".", "___").partition("/")  # as ModelScope names its folders
    folder = root / owner / (f"{model}@{revision.replace('/', '___')}" if revision else model)
    if _is_complete(folder):
        return folder
    _refuse_offline(name, download=download, looked_in=folder)
    lock = folder.with_name(f".{folder.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with need("filelock", extra="hub").FileLock(lock):
        if not _is_complete(folder):  # another process may have fetched it meanwhile
            _fetch_modelscope(name, folder, revision=revision or "master", progress=progress)
    return folder


def _fetch_modelscope(name: str, folder: Path, *, revision: str, progress: Progress | None) -> None:
    token = modelscope_token()
    # Old routes read the cookie, new ones the header: modelscope_hub sends both.
    headers = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"}
    address = f"{modelscope_endpoint()}/api/v1/models/{name}/repo"
    with tempfile.TemporaryDirectory() as temporary:
        listing = Path(temporary) / "files.json"
        query = urlencode({"Revision": revision, "Recursive": "true"})
        fetch(f"{address}/files?{query}", listing, headers=headers if token else None)
        entries = _listed(listing, name=name, revision=revision)
    folder.mkdir(parents=True, exist_ok=True)
    state = {"source": "modelscope", "name": name, "revision": revision}
    write_json(folder / _STATE, {**state, "complete": False})
    for path in _wanted(list(entries), name=name):
        fetch_missing(
            f"{address}?{urlencode({'Revision': revision, 'FilePath': path})}",
            folder / path,
            size=entries[path].get("Size"),
            sha256=entries[path].get("Sha256") or None,
            headers=headers if token else None,
            progress=_for_file(path, progress),
        )
    write_json(folder / _STATE, {**state, "complete": True})


def _listed(listing: Path, *, name: str, revision: str) -> dict[str, dict[str, Any]]:
    """Return path -> entry of the files the hub lists: `{"Data": {"Files": [{"Path", …}]}}`."""
    try:
        entries = read_json(listing)["Data"]["Files"]
        return {entry["Path"]: entry for entry in entries if entry.get("Type") != "tree"}
    except (ArtifactError, KeyError, TypeError, AttributeError):
        raise DownloadError(
            f"ModelScope lists no files for {name} at revision {revision}; "
            "check both on its page, and MODELSCOPE_API_TOKEN if it is private"
        ) from None


def _wanted(paths: list[str], *, name: str) -> list[str]:
    found = [path for path in paths if any(fnmatchcase(path, pattern) for pattern in FILES)]
    found = [path for path in found if ".." not in path]
    if not any(path.endswith(".safetensors") and "/" not in path for path in found):
        if PICKLED not in paths:
            raise DownloadError(f"{name} has neither model.safetensors nor {PICKLED}")
        found.append(PICKLED)
    return found


def _for_file(path: str, progress: Progress | None) -> Callable[[int, int | None], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(DownloadProgress(path, done, total))


def from_hugging_face(
    name: str,
    *,
    revision: str | None = None,
    cache: Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of the Hugging Face model `owner/name` (see `names.resolve`).

    Done by huggingface_hub, in its cache and with its variables (`HF_HOME`, `HF_TOKEN`, …).
    """
    _check_revision(revision)
    hub, errors, constants = (
        need(f"huggingface_hub{part}", extra="hub") for part in ("", ".errors", ".constants")
    )
    snapshot = partial(hub.snapshot_download, name, revision=revision, cache_dir=cache)
    try:
        folder = Path(snapshot(local_files_only=True, allow_patterns=list(FILES)))
        if _is_complete(folder):
            return folder
    except errors.LocalEntryNotFoundError:
        pass
    looked_in = Path(cache or constants.HF_HUB_CACHE)
    _refuse_offline(name, download=download, looked_in=looked_in)
    bar = _bar(name, progress)
    try:
        folder = Path(snapshot(allow_patterns=list(FILES), tqdm_class=bar))
        if not _is_complete(folder):
            snapshot(allow_patterns=[*FILES, PICKLED], tqdm_class=bar)
    except (errors.HTTPError, OSError) as error:
        raise DownloadError(
            f"{name} could not be fetched from {constants.ENDPOINT} ({_reason(error)}); check "
            "name, revision and connection, and HF_TOKEN if it is private"
        ) from None
    if not _is_complete(folder):
        raise DownloadError(f"{name} has neither model.safetensors nor {PICKLED}")
    return folder


def _reason(error: Exception) -> str:
    """Return status or class of huggingface_hub's error; its texts are long and quote headers."""
    cause = error.__cause__ or error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    return type(cause).__name__ if status is None else f"HTTP {status}"


def _bar(name: str, progress: Progress | None) -> type:
    """Return a tqdm class that prints nothing and passes bytes on to `progress`."""
    tqdm = need("tqdm.auto", extra="hub").tqdm

    class Bar(tqdm):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            kwargs.pop("name", None)
            self.counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if progress is not None and self.counts_bytes:
                progress(DownloadProgress(name, int(self.n), int(self.total or 0) or None))

    return Bar


def _is_complete(folder: Path) -> bool:
    """Whether `folder` holds a model, and no download of ours was interrupted in it."""
    if (folder / _STATE).is_file() and not read_json(folder / _STATE).get("complete"):
        return False
    if not any((folder / name).is_file() for name in ("config.json", "configuration.json")):
        return False
    try:
        return bool(weight_files(folder)) or any(
            (folder / name).is_file() for name in (INT8, PICKLED)
        )
    except ArtifactError:  # shards are missing
        return False


def _check_revision(revision: str | None) -> None:
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InputError(f"revision {revision!r} cannot be a tag, branch or commit")


def _refuse_offline(name: str, *, download: bool, looked_in: Path) -> None:
    if not download:
        raise DownloadError(f"{name} is not in {looked_in}, and downloading was not allowed")
    if (variable := offline_variable()) is not None:
        raise DownloadError(
            f"{name} is not in {looked_in}, and {variable} forbids a download; unset it, or copy "
            "the model there"
        )
