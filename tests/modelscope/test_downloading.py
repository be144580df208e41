"""Data sets from a local server that speaks like ModelScope."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from corom.errors import DownloadError
from corom.modelscope import MsDataset
from local_server import Handler, serving

pytest.importorskip("filelock")
NAME = "zyznull/dureader-retrieval-ranking"
ROW = {"query_id": "1", "query": "头痛", "positive_passages": [{"docid": "1", "text": "休息"}]}


class ModelScope(Handler):
    def answer(self) -> None:
        server = self.server
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        server.seen.append((parts.path, query))
        if parts.path == f"/api/v1/datasets/{NAME}":
            self.send_body(json.dumps({"Data": {"Id": 42, "Type": 1}}).encode())
        elif parts.path == "/api/v1/datasets/42/repo/tree" and query["Revision"] == "master":
            start = (int(query["PageNumber"]) - 1) * int(query["PageSize"])
            entries = [
                {
                    "Path": path,
                    "Type": "blob",
                    "Size": len(body),
                    "Sha256": hashlib.sha256(body).hexdigest(),
                }
                for path, body in server.files.items()
            ]
            page = entries[start : start + int(query["PageSize"])]
            self.send_body(json.dumps({"Data": {"Files": page}}).encode())
        elif parts.path == f"/api/v1/datasets/{NAME}/repo" and query["FilePath"] in server.files:
            self.send_body(server.files[query["FilePath"]])
        else:
            self.send_error(404)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    packed = gzip.compress(json.dumps(ROW, ensure_ascii=False).encode() + b"\n")
    filler = {f"images/{number}.png": b"x" for number in range(150)}
    files = {**filler, "train.jsonl.gz": packed, "x.py": b"x"}
    with serving(ModelScope) as server:
        server.files = {**files, "dev.jsonl": json.dumps(ROW).encode() + b"\n"}
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
        monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("COROM_OFFLINE", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


def test_rows_are_fetched_once_and_code_never(hub: Any, tmp_path: Path) -> None:
    found = MsDataset.load("dureader-retrieval-ranking", "zyznull")
    assert sorted(found) == ["dev", "train"]
    assert list(found["train"]) == [ROW]
    folder = tmp_path / "cache" / "datasets" / NAME
    assert sorted(path.name for path in folder.iterdir()) == [
        ".corom.json",
        "dev.jsonl",
        "train.jsonl.gz",
    ]
    asked = len(hub.seen)
    assert list(MsDataset.load(NAME, split="dev")) == [ROW]
    assert len(hub.seen) == asked


def test_dots_in_names_become_modelscopes_underscores(hub: Any, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "datasets" / "a.b" / "rows-v1___5"
    folder.mkdir(parents=True)
    (folder / "dev.jsonl").write_text(json.dumps(ROW))
    assert list(MsDataset.load("a.b/rows-v1.5", split="dev")) == [ROW]  # ModelScope fetched it
    assert hub.seen == []


def test_an_interrupted_download_goes_on(hub: Any, tmp_path: Path) -> None:
    MsDataset.load(NAME)
    hub.seen.clear()
    state = tmp_path / "cache" / "datasets" / NAME / ".corom.json"
    left = json.loads(state.read_text())
    state.write_text(json.dumps({**left, "complete": False}))
    (state.parent / "dev.jsonl").unlink()
    assert sorted(MsDataset.load(NAME)) == ["dev", "train"]
    # What is there already, by size and checksum, is not fetched again.
    assert [query["FilePath"] for _, query in hub.seen if "FilePath" in query] == ["dev.jsonl"]


@pytest.mark.parametrize("wrong", ["absolute", "../evil.jsonl", "a/../../evil.jsonl", "link"])
def test_no_file_is_written_outside_of_the_folder(hub: Any, tmp_path: Path, wrong: str) -> None:
    evil = tmp_path / "evil.jsonl"
    path = {"absolute": str(evil), "link": "out/evil.jsonl"}.get(wrong, wrong)
    if wrong == "link":
        folder = tmp_path / "cache" / "datasets" / NAME
        folder.mkdir(parents=True)
        (folder / "out").symlink_to(tmp_path)
    hub.files = {"dev.jsonl": hub.files["dev.jsonl"], path: b"{}"}
    with pytest.raises(DownloadError, match="outside of its folder"):
        MsDataset.load(NAME)
    assert not evil.exists()
    assert not any("FilePath" in query for _, query in hub.seen)


def test_what_the_hub_does_not_have(hub: Any) -> None:
    with pytest.raises(DownloadError):
        MsDataset.load("owner/other")
    hub.files = {"meta.json": b"{}", "script.py": b""}
    with pytest.raises(DownloadError, match=r"has no \.jsonl file on ModelScope"):
        MsDataset.load(NAME)
    with pytest.raises(DownloadError):
        MsDataset.load(NAME, version="v9")
