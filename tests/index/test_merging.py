"""Segments become one: what can be seen stays, the files stay few, kills change nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from corom.index import BM25Options, ExactOptions, merging, open_index, open_writer
from corom.index.merging import mergeable
from corom.records import Passage
from index.samples import append, passages, queries, spec, vectors_for


@pytest.fixture(autouse=True)
def fan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "FAN", 16)  # build_and_wait.py makes it smaller


OPTIONS = {
    "fp32": ExactOptions(),
    "int8": ExactOptions(precision="int8"),
    "binary": ExactOptions(precision="binary"),
    "bm25": BM25Options(cut="bigrams"),
}


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([], None),
        ([4096] * 15, None),
        ([4096] * 16, slice(0, 16)),
        ([4096] * 17, slice(0, 17)),
        ([65536] + [4096] * 15, None),
        ([65536] + [4096] * 16, slice(1, 17)),
        ([65536] * 16 + [4096] * 3, slice(0, 19)),
        ([1 << 20] * 15 + [65536] * 15 + [4096] * 15, None),
        ([4096, 1] * 8, None),
        ([4096, 1] * 16, slice(0, 32)),
        ([1] * 16, slice(0, 16)),
    ],
)
def test_what_is_merged(sizes: list[int], wanted: slice | None) -> None:
    assert mergeable(sizes) == wanted


def test_segments_stay_few_and_copies_too() -> None:
    sizes: list[int] = []
    copied = most = 0
    for _ in range(2442):  # ten million passages, 4,096 at a time
        sizes.append(4096)
        while (run := mergeable(sizes)) is not None:
            copied += sum(sizes[run])
            sizes[run] = [sum(sizes[run])]
        most = max(most, len(sizes))
    assert sum(sizes) == 2442 * 4096
    assert most <= 45
    assert copied <= 3 * sum(sizes)


@pytest.mark.parametrize("kind", OPTIONS)
def test_merged_is_the_same_index(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tantivy")
    options, total = OPTIONS[kind], 110
    ids = [f"{'病' * (n % 4)}{n}" for n in range(total)]  # of several widths
    everything, numbers = passages(total, ids=ids), vectors_for(options, total)
    found, files = {}, {}
    for fan in (1000, 3):
        monkeypatch.setattr(merging, "FAN", fan)
        path = tmp_path / str(fan)
        with open_writer(path, spec(options)) as writer:
            append(writer, everything, numbers, size=4)
            writer.finish()
            writer.remove([ids[7]])
            extra = None if numbers is None else queries(3)
            writer.append([Passage(id_, "糖尿病") for id_ in ("x", ids[7], "y")], extra)
            writer.finish()
        index = open_index(path)
        asked = ["糖尿病吃什么药"] if isinstance(options, BM25Options) else queries()
        rows = np.arange(index.collection.rows)
        found[fan] = [
            index.search(asked, 20),
            index.collection.ids(rows),
            index.collection.passages(rows),
        ]
        files[fan] = len(list(path.iterdir()))
    assert found[3] == found[1000]
    assert files[3] < files[1000] / 3


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files under /proc")
def test_few_files_are_open(tmp_path: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path.iterdir opens one more

    before = opened()
    options = ExactOptions(precision="int8")
    with open_writer(tmp_path / "index", spec(options)) as writer:
        everything, numbers = passages(520), vectors_for(options, 520)
        append(writer, everything, numbers, size=2)
        assert opened() - before < 6 * 31
        writer.finish()
    assert len(open_index(tmp_path / "index")) == 520


def test_a_build_killed_between_append_and_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "FAN", 3)
    options = ExactOptions()
    everything, numbers = passages(40), vectors_for(options, 40)

    def build(path: Path, *, stop: int = 40) -> None:
        with open_writer(path, spec(options)) as writer:
            append(writer, everything[:stop], numbers, size=4, start=writer.done)
            if stop == 40:
                writer.finish()

    def contents(path: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in path.glob("*-*")}

    build(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr("corom.index.writer.mergeable", lambda _: None)
        build(tmp_path / "killed", stop=12)
    build(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
