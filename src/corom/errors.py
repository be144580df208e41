"""Every error corom raises on purpose.

    CoromError
    ├── InputError           a value you passed cannot be used (also a ValueError)
    ├── FormatError          a data file cannot be read; carries file and line
    ├── ArtifactError        a model folder or an index is missing, corrupt or incompatible
    ├── MissingExtraError    an optional dependency is not installed (also an ImportError)
    ├── DownloadError        a download failed, was refused or is forbidden (offline)
    ├── TrainingError        training cannot go on: the loss is no longer a finite number
    └── ServiceError         a request the server cannot answer now

A message says what is wrong, names the offending value, file or line, and says what to do.
It never repeats the text of a user: medical text is private.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class CoromError(Exception):
    """The root of corom's errors: catch it to catch all of them."""


class InputError(CoromError, ValueError):
    """A value passed to corom cannot be used."""


class FormatError(CoromError):
    """A data file does not have the form it should; `path` and `line` (from 1) say where.

    `reason` is the short name that a bad record is counted under.
    """

    def __init__(
        self, message: str, *, path: Path | str, line: int | None = None, reason: str | None = None
    ) -> None:
        self.path = Path(path)
        self.line = line
        self.reason = reason
        self._given = message, path, line, reason
        place = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {message}")

    def __reduce__(self) -> tuple[Callable[..., FormatError], tuple[object, ...]]:
        # Worker processes send their errors home; what Exception does by itself loses the place.
        return _format_error, self._given


class ArtifactError(CoromError):
    """A model folder or an index is missing, corrupt, or does not fit what uses it."""


class MissingExtraError(CoromError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class DownloadError(CoromError):
    """A download failed, does not match its checksum, or is not allowed."""


class TrainingError(CoromError):
    """Training cannot go on; what was saved before is intact."""


class ServiceError(CoromError):
    """The server cannot answer this request now."""


def _format_error(
    message: str, path: Path | str, line: int | None, reason: str | None
) -> FormatError:
    return FormatError(message, path=path, line=line, reason=reason)
