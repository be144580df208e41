"""corom.downloads against a local server that loses connections, lies and redirects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from corom import downloads
from corom.downloads import fetch, fetch_missing
from corom.errors import DownloadError, InputError
from local_server import Handler, serving

BODY = "血压偏高应当少盐。".encode() * 40_000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Unreliable(Handler):
    def answer(self) -> None:
        server = self.server
        server.seen.append((self.path, dict(self.headers)))
        name = self.path.split("?")[0]
        if name in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[name])
            self.end_headers()
            return
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        if name != "/file":
            self.send_error(404)
            return
        with suppress(ConnectionError):  # some clients have had enough
            self.send_file(server)

    def send_file(self, server: Any) -> None:
        if server.chunked:
            self.send_response(200)  # HTTP/1.0: its end is that of the connection
            self.end_headers()
            self.wfile.write(server.body)
            return
        if not server.ranges:
            del self.headers["Range"]
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        if start >= len(server.body) > 0:
            self.send_response(416)
            if server.tells:
                self.send_header("Content-Range", f"bytes */{len(server.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_body(server.body, upto=server.cuts.pop(0) if server.cuts else None)


@contextmanager
def serve() -> Iterator[Any]:
    with serving(Unreliable) as server:
        server.body, server.statuses, server.cuts = BODY, [], []
        server.redirects, server.ranges, server.tells, server.chunked = {}, True, True, False
        server.url += "/file"
        yield server


@pytest.fixture
def server() -> Iterator[Any]:
    with serve() as each:
        yield each


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    for name in ("COROM_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return waits


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_arrives_whole_with_progress(server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "a.tsv"
    fetch(
        server.url,
        target,
        size=len(BODY),
        sha256=DIGEST.upper(),
        progress=lambda a, b: told.append((a, b)),
    )
    assert target.read_bytes() == BODY
    assert left(target.parent) == {"a.tsv"}
    assert told[-1] == (len(BODY), len(BODY))
    assert told == sorted(told)


def test_lost_connections_are_continued(server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0, 300_000]
    fetch(server.url, tmp_path / "a", sha256=DIGEST)
    assert (tmp_path / "a").read_bytes() == BODY
    ranges = [headers.get("Range") for _, headers in server.seen]
    assert ranges == [None, "bytes=100000-", "bytes=100000-", "bytes=400000-"]


def test_a_server_without_ranges_starts_over(server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [100_000]
    fetch(server.url, tmp_path / "a", sha256=DIGEST)
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_lasting_loss_keeps_the_part_for_the_next_call(server, tmp_path: Path, quick) -> None:
    server.cuts = [1000, 0, 0, 0]
    with pytest.raises(DownloadError, match="1000 bytes are kept"):
        fetch(server.url, tmp_path / "a", retries=2)
    assert left(tmp_path) == {"a.part"}
    assert quick == [0.5, 1.0]
    server.cuts = []
    fetch(server.url, tmp_path / "a", sha256=DIGEST)
    assert server.seen[-1][1]["Range"] == "bytes=1000-"
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_whole_part_needs_no_byte_more(server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(BODY)
    fetch(server.url, tmp_path / "a", size=len(BODY), sha256=DIGEST)
    assert server.seen == []
    (tmp_path / "b.part").write_bytes(BODY)
    fetch(server.url, tmp_path / "b", sha256=DIGEST)  # answered 416 with the same length
    assert (tmp_path / "b").read_bytes() == BODY


@pytest.mark.parametrize("old", [b"x" * 500, b"x" * (len(BODY) + 7)])
def test_a_part_of_another_version_is_dropped(server, tmp_path: Path, old: bytes) -> None:
    (tmp_path / "a.part").write_bytes(old)
    fetch(server.url, tmp_path / "a", sha256=DIGEST)
    assert (tmp_path / "a").read_bytes() == BODY
    (tmp_path / "b.part").write_bytes(b"x" * (len(BODY) + 7))
    fetch(server.url, tmp_path / "b", size=len(BODY))
    assert (tmp_path / "b").read_bytes() == BODY


def test_wrong_size_and_checksum_leave_no_file(server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"{len(BODY)} bytes, expected 5"):
        fetch(server.url, tmp_path / "a", size=5)
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(server.url, tmp_path / "a", sha256="0" * 64)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("old", [b"", BODY, BODY[:100], BODY + b"x"])
@pytest.mark.parametrize("difference", [-7, 7])
@pytest.mark.parametrize("stated", [True, False])
def test_no_file_of_another_size_than_asked_is_kept(
    server, tmp_path: Path, old: bytes, difference: int, stated: bool
) -> None:
    """Whether a part was left, and whether the server states a size."""
    server.chunked = not stated
    (tmp_path / "a.part").write_bytes(old)
    with pytest.raises(DownloadError, match=r"bytes, expected|could not be fetched"):
        fetch(server.url, tmp_path / "a", size=len(BODY) + difference)
    assert left(tmp_path) <= {"a.part"}
    assert len(server.seen) <= 6


def test_a_refused_range_without_a_size_proves_nothing(server, tmp_path: Path) -> None:
    server.tells = False
    (tmp_path / "a.part").write_bytes(b"x" * (len(BODY) + 7))
    fetch(server.url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY


def test_what_is_there_is_fetched_unless_it_is_the_same(server, tmp_path: Path) -> None:
    target = tmp_path / "a"
    for content, size, digest, asked in (
        (None, len(BODY), DIGEST, 1),
        (BODY, len(BODY), DIGEST, 0),
        (BODY[::-1], len(BODY), DIGEST, 1),
        (BODY, len(BODY), None, 1),  # nothing says that it is the same
    ):
        server.seen.clear()
        if content is not None:
            target.write_bytes(content)
        fetch_missing(server.url, target, size=size, sha256=digest)
        assert target.read_bytes() == BODY
        assert len(server.seen) == asked


def test_an_old_target_survives_a_failure(server, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(DownloadError):
        fetch(server.url, tmp_path / "a", sha256="0" * 64)
    assert (tmp_path / "a").read_bytes() == b"old"
    fetch(server.url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY


def test_busy_servers_are_asked_again_and_missing_files_are_not(server, tmp_path: Path) -> None:
    server.statuses = [503, 429, 500]
    fetch(server.url, tmp_path / "a")
    assert len(server.seen) == 4
    with pytest.raises(DownloadError, match=r"/nothing answered HTTP 404") as caught:
        fetch(server.url.replace("file", "nothing?token=geheim"), tmp_path / "b")
    assert "geheim" not in str(caught.value)
    assert len(server.seen) == 5


def test_nobody_listens(tmp_path: Path) -> None:
    with serve() as server:
        url = server.url
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch(url, tmp_path / "a", retries=1)


def test_credentials_stay_with_their_host(server, tmp_path: Path) -> None:
    with serve() as other:
        server.redirects = {"/here": server.url, "/away": other.url}
        headers = {"Authorization": "Bearer geheim", "Cookie": "k=v", "X-Kept": "1"}
        base = server.url.removesuffix("/file")
        fetch(f"{base}/here", tmp_path / "a", headers=headers)
        assert server.seen[-1][1]["Authorization"] == "Bearer geheim"
        fetch(f"{base}/away", tmp_path / "b", headers=headers)
        assert server.seen[-1][1]["Authorization"] == "Bearer geheim"
        got = other.seen[-1][1]
        assert "Authorization" not in got
        assert "Cookie" not in got
        assert got["X-Kept"] == "1"


def test_no_redirect_leaves_http(server, tmp_path: Path) -> None:
    server.redirects = {"/away": "ftp://127.0.0.1/x"}
    with pytest.raises(DownloadError, match="not http"):
        fetch(server.url.replace("/file", "/away"), tmp_path / "a")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/b", "", "http://", "a.tsv"])
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="http or https"):
        fetch(url, tmp_path / "a")


@pytest.mark.parametrize("name", ["COROM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_opens_no_connection(server, tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(DownloadError, match=f"{name} forbids fetching"):
        fetch(server.url, tmp_path / "a")
    assert server.seen == []


def test_an_empty_file(server, tmp_path: Path) -> None:
    server.body = b""
    fetch(server.url, tmp_path / "a", size=0)
    assert (tmp_path / "a").read_bytes() == b""


def test_a_full_disk_is_not_retried(server, tmp_path: Path, monkeypatch, quick) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        fetch(server.url, tmp_path / "a")
    assert quick == []
