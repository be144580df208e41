"""Two processes in one run, for every verb that trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corom.errors import ArtifactError
from corom.files import writer_lock


def enter_at_once(verb: Callable[[Any], Any], settings: Any) -> None:
    """Check that a run somebody is in is refused, and that a finished one is only read."""
    folder = Path(settings.output)
    folder.mkdir()
    with (
        writer_lock(folder),
        pytest.raises(ArtifactError, match="is being written by another process"),
    ):
        verb(settings)
    finished = verb(settings)
    with writer_lock(folder):
        assert verb(settings) == finished
