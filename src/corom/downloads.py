"""One way to download a file: resumed after an interruption, checked, renamed when whole.

The bytes go to `TARGET.part` beside the target. A part left behind, by a lost connection or a
killed process, is continued with an HTTP range request; a server that cannot do ranges starts
over. Nothing here is called unless the user asked for a download.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from corom.environment import offline_variable
from corom.errors import DownloadError, InputError
from corom.files import sha256 as file_sha256

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes there are so far and the bytes of the whole file (None: not known)."""

_CHUNK = 1 << 18
_TIMEOUT = 30.0
_TRANSIENT = (408, 425, 429)
_SECRETS = ("Authorization", "Cookie")


class _Source(NamedTuple):
    url: str
    headers: dict[str, str]
    size: int | None


class _LostError(Exception):
    """The connection or the server failed in a way that another attempt may mend."""


def fetch(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    retries: int = 4,
) -> None:
    """Download `url` to `target`, which appears whole and checked or not at all.

    `size` (bytes) and `sha256` (hexadecimal) are what the file must have; without `sha256` a part
    of an older version cannot be told from one of this version. `retries` counts failures in a
    row that brought no byte. An existing target is replaced; two processes must not fetch the
    same target at once (lock around it). Raises DownloadError when offline, when the server
    refuses, when the connection stays lost (what came is kept for the next call), and when size
    or checksum differ (what came is removed); InputError when `url` is not http or https.
    """
    _refuse_other_than_http(url)
    if (variable := offline_variable()) is not None:
        raise DownloadError(f"{variable} forbids fetching {_shown(url)}; unset it first")
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    resumed = _length(part) > 0
    source = _Source(url, dict(headers or {}), size)
    _fetch_part(source, part, progress=progress, retries=retries)
    if sha256 is not None and resumed and file_sha256(part) != sha256.lower():
        part.unlink()  # what lay here was the start of another version
        _fetch_part(source, part, progress=progress, retries=retries)
    if sha256 is not None and (found := file_sha256(part)) != sha256.lower():
        part.unlink()
        raise DownloadError(f"{_shown(url)} has SHA-256 {found}, expected {sha256}; try again")
    if size is not None and (length := _length(part)) != size:
        part.unlink()
        raise _wrong_size(url, length, size)
    part.replace(target)


def fetch_missing(
    url: str,
    target: Path,
    *,
    size: int | None,
    sha256: str | None,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Do what `fetch` does, unless the target has this size and SHA-256 already (both stated)."""
    if target.is_file() and target.stat().st_size == size and sha256 == file_sha256(target):
        return
    fetch(url, target, size=size, sha256=sha256, headers=headers, progress=progress)


def _fetch_part(source: _Source, part: Path, *, progress: Progress | None, retries: int) -> None:
    failures = 0
    while True:
        before = _length(part)
        try:
            _continue(source, part, progress=progress)
        except (_LostError, URLError, HTTPException, OSError) as error:
            if not _is_transient(error):
                raise
            failures = 1 if _length(part) > before else failures + 1
            if failures > retries:
                raise DownloadError(
                    f"{_shown(source.url)} could not be fetched ({error}); "
                    f"{_length(part)} bytes are kept, run it again to continue"
                ) from None
            time.sleep(min(0.25 * 2**failures, 8.0))
        else:
            return


def _is_transient(error: Exception) -> bool:
    # A full disk is an OSError too, and no retry mends that.
    network = (_LostError, URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
    return isinstance(error, network)


def _continue(source: _Source, part: Path, *, progress: Progress | None) -> None:
    start = _length(part)
    if source.size is not None and start > source.size:
        part.unlink()
        start = 0
    if start and start == source.size:
        return
    # A new request each time: urllib changes the one it is given when there is a proxy.
    request = Request(source.url, headers=source.headers)  # noqa: S310 - checked in fetch
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with build_opener(_Redirects).open(request, timeout=_TIMEOUT) as response:
            start = start if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            total = _total(response.headers, start)
            _require_size(source, total)
            _append(response, part, start=start, total=source.size or total, progress=progress)
        if source.size is None and total is not None and _length(part) > total:
            part.unlink()
            raise _LostError(f"more came than the {total} bytes that were announced")
    except HTTPError as error:
        with error:
            _explain(error, source, part, start=start)


def _explain(error: HTTPError, source: _Source, part: Path, *, start: int) -> None:
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
        total = _total(error.headers, start) if "Content-Range" in error.headers else None
        if total == start and source.size in (None, start):
            return  # the part is the whole file already
        part.unlink()
        _require_size(source, total)
        raise _LostError("the part did not fit the file") from None
    if error.code in _TRANSIENT or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _LostError(f"HTTP {error.code}") from None
    raise DownloadError(
        f"{_shown(source.url)} answered HTTP {error.code}; check the address and, for a private "
        "file, the token"
    ) from None


def _require_size(source: _Source, found: int | None) -> None:
    """Raise DownloadError if the server states another size than the file must have."""
    if source.size is not None and found is not None and found != source.size:
        raise _wrong_size(source.url, found, source.size)


def _wrong_size(url: str, found: int, size: int) -> DownloadError:
    return DownloadError(f"{_shown(url)} has {found} bytes, expected {size}")


def _append(
    response: IO[bytes], part: Path, *, start: int, total: int | None, progress: Progress | None
) -> None:
    done = start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        while block := response.read(_CHUNK):
            file.write(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
            if total is not None and done > total:
                break  # more than the file may have: `fetch` says so
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done < total:
        # http.client ends a cut body silently when it is read in blocks.
        raise _LostError(f"the connection ended after {done} of {total} bytes")


def _total(headers: Message, start: int) -> int | None:
    if found := re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", headers.get("Content-Range", "")):
        if found[1] is not None and int(found[1]) != start:
            raise _LostError("the server sent another range than it was asked for")
        return int(found[2])
    length = headers.get("Content-Length")
    return start + int(length) if length else None


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but takes no credentials to another host and leaves http(s) nowhere."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise DownloadError(f"{_shown(req.full_url)} redirects to something that is not http")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            for name in _SECRETS:
                new.remove_header(name)
        return new


def _refuse_other_than_http(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{_shown(url)!r} is not an http or https address")


def _shown(url: str) -> str:
    """Return the address without its query and user part: these may carry signatures."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
