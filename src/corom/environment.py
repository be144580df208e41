"""The environment variables corom reads, all in one place.

| variable | meaning |
|---|---|
| `COROM_CACHE` | the folder of what corom makes: int8 forms, `corom evaluate`'s vectors |
| `XDG_CACHE_HOME` | without it that folder is `corom` in this one; default `~/.cache` |
| `COROM_OFFLINE`, `HF_HUB_OFFLINE` | `1`: no download, not even one that is asked for |
| `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` | as huggingface_hub reads them |
| `MILVUS_TOKEN` | what a Milvus server is told: `user:password`, or a key |
| `MODELSCOPE_CACHE`, `MODELSCOPE_ENDPOINT`, `MODELSCOPE_API_TOKEN` | as ModelScope reads them |
| `RANK`, `LOCAL_RANK`, `WORLD_SIZE` | of torchrun: a process's number, in all and here; how many |
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

_TRUE = {"1", "true", "yes", "on"}


def at_home(path: str) -> Path:
    """Return a path whose ~ is the user's folder; a ~user who is not here stays as written."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises a RuntimeError


def cache_folder() -> Path:
    """Return corom's own cache folder (not created)."""
    if own := os.environ.get("COROM_CACHE"):
        return at_home(own)
    return at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "corom"


def offline_variable() -> str | None:
    """Return the name of the variable that forbids every download, if one is set."""
    names = ("COROM_OFFLINE", "HF_HUB_OFFLINE")
    return next((name for name in names if os.environ.get(name, "").lower() in _TRUE), None)


def modelscope_cache(kind: Literal["models", "datasets"]) -> Path:
    """Return the folder ModelScope keeps its downloads in: `$MODELSCOPE_CACHE/models`, say."""
    return at_home(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope/hub") / kind


def modelscope_endpoint() -> str:
    """Return the address of the ModelScope hub, without a trailing slash."""
    return (os.environ.get("MODELSCOPE_ENDPOINT") or "https://www.modelscope.cn").rstrip("/")


def modelscope_token() -> str | None:
    """Return the user's ModelScope token, if any."""
    return os.environ.get("MODELSCOPE_API_TOKEN") or None


def is_main_process() -> bool:
    """Whether this is the only process, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def is_first_here() -> bool:
    """Whether this is the only process, or the first of torchrun's on this machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def process_count() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def milvus_token() -> str | None:
    """Return what a Milvus server lets the user in by, if any: user:password, or a key."""
    return os.environ.get("MILVUS_TOKEN") or None
