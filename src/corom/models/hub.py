"""Model folders from ModelScope and Hugging Face: found in the cache, or downloaded.

Only what corom reads is fetched: configuration, tokenizer, card and safetensors, or
`pytorch_model.bin` where there are no safetensors (of a Dense, which is small, both); never code.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from corom.errors import ArtifactError, DownloadError
from corom.extras import need
from corom.hubs import (
    DownloadProgress,
    Progress,
    answer_of_modelscope,
    check_revision,
    downloaded,
    refuse_offline,
)
from corom.models.weights import INT8, PICKLED, holds_safetensors

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


def from_modelscope(
    name: str,
    *,
    revision: str | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of the ModelScope model `owner/name` (see `names.resolve`).

    The cache is ModelScope's own, so models it fetched are found; a pinned revision gets a folder
    of its own, `name@revision`. Files are checked against the SHA-256 the hub states.
    """
    return downloaded(
        "models",
        name,
        revision=revision,
        listed=_listed,
        holds=_holds_model,
        download=download,
        progress=progress,
    )


def _listed(name: str, revision: str) -> list[dict[str, Any]]:
    """Return the entries to fetch of those the hub lists: `{"Files": [{"Path", …}]}`."""
    found = answer_of_modelscope(f"models/{name}/repo/files", Revision=revision, Recursive="true")
    try:
        entries = {e["Path"]: e for e in found["Files"] if e.get("Type") != "tree"}
    except (KeyError, TypeError, AttributeError):
        raise DownloadError(
            f"ModelScope lists no files for {name} at revision {revision}; "
            "check both on its page, and MODELSCOPE_API_TOKEN if it is private"
        ) from None
    return [entries[path] for path in _wanted(list(entries), name=name)]


def _wanted(paths: list[str], *, name: str) -> list[str]:
    found = [path for path in paths if any(fnmatchcase(path, pattern) for pattern in FILES)]
    found = [path for path in found if ".." not in path]
    if not any(path.endswith(".safetensors") and "/" not in path for path in found):
        if PICKLED not in paths:
            raise DownloadError(f"{name} has neither model.safetensors nor {PICKLED}")
        found.append(PICKLED)
    return found


def from_hugging_face(
    name: str,
    *,
    revision: str | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of the Hugging Face model `owner/name` (see `names.resolve`).

    Done by huggingface_hub, in its cache and with its variables (`HF_HOME`, `HF_TOKEN`, …).
    """
    check_revision(revision)
    hub, errors, constants = (
        need(f"huggingface_hub{part}", extra="hub") for part in ("", ".errors", ".constants")
    )
    snapshot = partial(hub.snapshot_download, name, revision=revision)
    try:
        folder = Path(snapshot(local_files_only=True, allow_patterns=list(FILES)))
        if _holds_model(folder):
            return folder
    except errors.LocalEntryNotFoundError:
        pass
    refuse_offline(name, looked_in=Path(constants.HF_HUB_CACHE), download=download)
    bar = _bar(name, progress)
    try:
        folder = Path(snapshot(allow_patterns=list(FILES), tqdm_class=bar))
        if not _holds_model(folder):
            snapshot(allow_patterns=[*FILES, PICKLED], tqdm_class=bar)
    except (errors.HTTPError, OSError) as error:
        raise DownloadError(
            f"{name} could not be fetched from {constants.ENDPOINT} ({_reason(error)}); check "
            "name, revision and connection, and HF_TOKEN if it is private"
        ) from None
    if not _holds_model(folder):
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


def _holds_model(folder: Path) -> bool:
    if not any((folder / name).is_file() for name in ("config.json", "configuration.json")):
        return False
    try:
        return holds_safetensors(folder) or (folder / PICKLED).is_file()
    except ArtifactError:  # shards are missing
        return False
