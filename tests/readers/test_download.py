"""Public data sets from a local server that behaves like the real one, and worse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corom import downloads
from corom.errors import DownloadError, InputError
from corom.readers import download
from corom.readers.download import PUBLISHED, Published, download_dataset
from local_server import Handler, serving

CORPUS = "".join(f"{n}\t第{n}段：感冒应当多喝水，注意休息。\n" for n in range(1, 2001)).encode()
FILES = {
    **{f"corpus_split_{n + 1}.tsv": CORPUS[n * 25_000 : (n + 1) * 25_000] for n in range(3)},
    "corpus_split_4.tsv": CORPUS[75_000:],
    "dev.query.txt": "1\t感冒怎么办\n2\t头痛\n".encode(),
    "qrels.dev.tsv": b"1\t0\t7\t1\n2\t0\t8\t0\n",
}
SMALL = Published(
    url="set by the fixture",
    terms="",
    files="".join(
        f"\n{hashlib.sha256(data).hexdigest()} {len(data)} {name}" for name, data in FILES.items()
    )
    + "\n",
    passages=2000,
    splits={"dev": (2, 1)},
)


class Authors(Handler):
    def answer(self) -> None:
        server = self.server
        server.seen.append((self.path, self.headers.get("Range")))
        data = server.files.get(self.path.removeprefix("/data/"))
        if data is None:
            self.send_error(404)
        else:
            self.send_body(data, upto=server.cuts.pop(0) if server.cuts else None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    for name in ("COROM_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with serving(Authors) as server:
        server.files, server.cuts = dict(FILES), []
        monkeypatch.setattr(
            download, "PUBLISHED", {"small": SMALL._replace(url=f"{server.url}/data/")}
        )
        yield server


def test_a_data_set_arrives_counted_with_progress(server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    data = download_dataset("small", tmp_path / "new", progress=lambda *each: told.append(each))
    assert (data.format, data.splits) == ("multi-cpr", ("dev",))
    assert sum(1 for _ in data.passages()) == 2000
    assert {name: done for name, done, _ in told} == {n: len(d) for n, d in FILES.items()}
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(FILES)


def test_a_lost_connection_is_continued_and_what_is_there_is_not_asked_for(
    server, tmp_path: Path
) -> None:
    server.cuts = [25_000, 1000, 0]
    download_dataset("small", tmp_path)
    assert server.seen[1:4] == [
        ("/data/corpus_split_2.tsv", None),
        ("/data/corpus_split_2.tsv", "bytes=1000-"),
        ("/data/corpus_split_2.tsv", "bytes=1000-"),
    ]
    server.seen.clear()
    (tmp_path / "dev.query.txt").unlink()
    download_dataset("small", tmp_path)
    assert server.seen == [("/data/dev.query.txt", None)]


def test_a_killed_download_goes_on_in_the_next_process(server, tmp_path: Path) -> None:
    server.cuts = [25_000, 1000, *[0] * 9]
    with pytest.raises(DownloadError, match="1000 bytes are kept"):
        download_dataset("small", tmp_path)
    server.cuts.clear()
    server.seen.clear()
    download_dataset("small", tmp_path)
    assert server.seen[0] == ("/data/corpus_split_2.tsv", "bytes=1000-")


def test_offline_needs_no_connection_when_all_is_there(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download_dataset("small", tmp_path)
    server.seen.clear()
    monkeypatch.setenv("COROM_OFFLINE", "1")
    download_dataset("small", tmp_path)
    with pytest.raises(DownloadError, match="COROM_OFFLINE forbids"):
        download_dataset("small", tmp_path / "other")
    assert server.seen == []


def test_a_missing_file_names_its_address(server, tmp_path: Path) -> None:
    del server.files["dev.query.txt"]
    with pytest.raises(DownloadError, match=r"/data/dev.query.txt answered HTTP 404"):
        download_dataset("small", tmp_path)


def test_changed_files_are_refused(server, tmp_path: Path) -> None:
    server.files["qrels.dev.tsv"] = b"1\t0\t7\t1\n2\t0\t8\t1\n"
    with pytest.raises(DownloadError, match="SHA-256"):
        download_dataset("small", tmp_path)
    assert not (tmp_path / "qrels.dev.tsv").exists()


def test_a_file_of_the_user_is_not_overwritten(server, tmp_path: Path) -> None:
    (tmp_path / "dev.query.txt").write_text("mine")
    with pytest.raises(DownloadError, match=r"dev.query.txt is another file"):
        download_dataset("small", tmp_path)
    assert (tmp_path / "dev.query.txt").read_text() == "mine"


@pytest.mark.parametrize("change", [{"passages": 1999}, {"splits": {"dev": (2, 2)}}])
def test_wrong_counts_are_refused(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    small = download.PUBLISHED["small"]._replace(**change)
    monkeypatch.setattr(download, "PUBLISHED", {"small": small})
    with pytest.raises(DownloadError, match="holds 2000 passages"):
        download_dataset("small", tmp_path)


def test_a_mirror_takes_the_place_of_the_address(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = download.PUBLISHED["small"].url
    monkeypatch.setattr(download, "PUBLISHED", {"small": SMALL})
    download_dataset("small", tmp_path, base_url=url)
    assert len(server.seen) == len(FILES)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are multi-cpr-medical, cmedqa2"):
        download_dataset("multi-cpr", tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_lists_are_well_formed(name: str) -> None:
    published = PUBLISHED[name]
    lines = [line.split(" ") for line in published.files.split("\n")[1:-1]]
    assert all(len(digest) == 64 and int(digest, 16) for digest, _, _ in lines)
    assert all(int(size) > 0 and file for _, size, file in lines)
    assert published.url.startswith("https://")
    qrels = "".join(f"{n}\t0\t{30_000_000 + n}\t1\n" for n in range(1, 1001)).encode()
    if name == "multi-cpr-medical":  # the one file whose contents are known here
        assert [hashlib.sha256(qrels).hexdigest(), str(len(qrels)), "qrels.dev.tsv"] in lines
