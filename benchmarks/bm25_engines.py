"""What `bench_bm25.py` measures: corom's BM25 (tantivy) and bm25s, each in a process of its own.

Both get the same words, cut by rjieba as `corom.words` cuts them; cutting is part of building and
of searching, and both answer with the ids and scores of passages.

    python bm25_engines.py build ENGINE DATA FOLDER
    python bm25_engines.py serve ENGINE FOLDER

`build` prints a line of JSON; `serve` one when it is ready, then one for each line it is given:
`{"texts": […], "k": 10, "alone": false}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from processes import memory_mb

Search: TypeAlias = Callable[[list[str], int], object]


def build_corom(cut: str, data: Path, folder: Path) -> None:
    """Make the index as `corom index DATA --model bm25` does."""
    from corom.index import BM25Options, IndexSpec
    from corom.index.building import build_index
    from corom.readers import open_dataset

    spec = IndexSpec(options=BM25Options(cut=cut))
    build_index(folder, list(open_dataset(data).passages()), spec=spec)


def open_corom(folder: Path) -> Search:
    """Return the search of an index on disk, its checksums compared."""
    from corom.index import open_index

    return open_index(folder).search


def library(backend: str) -> Any:  # noqa: ANN401 - a module
    """Return bm25s, as it is where numba is not installed unless that is wanted."""
    if backend == "numpy":
        sys.modules["numba"] = None  # type: ignore[assignment]  # importing it fails
    import bm25s

    return bm25s


def build_bm25s(data: Path, folder: Path) -> None:
    """Save an index with Lucene's formula, and the ids of the passages."""
    from corom.readers import open_dataset
    from corom.words import segment

    passages = list(open_dataset(data).passages())
    index = library("numpy").BM25(method="lucene", k1=1.2, b=0.75)
    index.index([segment(passage.content) for passage in passages], show_progress=False)
    index.save(str(folder))
    ids = [passage.id for passage in passages]
    (folder / "ids.json").write_text(json.dumps(ids), encoding="utf-8")


def open_bm25s(folder: Path, *, backend: str = "numpy") -> Search:
    """Return the search of an index that is memory-mapped."""
    import numpy as np

    from corom.words import segment

    index = library(backend).BM25.load(str(folder), mmap=True)
    index.backend = backend
    if backend == "numba":
        index.activate_numba_scorer()
    ids = np.array(json.loads((folder / "ids.json").read_text(encoding="utf-8")), dtype=object)

    def search(texts: list[str], k: int) -> object:
        words = [segment(text) for text in texts]
        found = index.retrieve(
            words, corpus=ids, k=k, n_threads=os.cpu_count() or 1, show_progress=False
        )
        return [
            list(zip(*row, strict=True))
            for row in zip(found.documents.tolist(), found.scores.tolist(), strict=True)
        ]

    return search


ENGINES: dict[str, tuple[Callable[[Path, Path], None], Callable[[Path], Search]]] = {
    "corom": (lambda data, folder: build_corom("words", data, folder), open_corom),
    "corom, bigrams": (lambda data, folder: build_corom("bigrams", data, folder), open_corom),
    "bm25s": (build_bm25s, open_bm25s),
    "bm25s, numba": (build_bm25s, lambda folder: open_bm25s(folder, backend="numba")),
}


def answer(search: Search, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the seconds of one search of all texts, or of one for each (`alone`)."""
    texts, k = asked["texts"], asked["k"]
    if asked["alone"]:
        return {"seconds": [_timed(search, [text], k) for text in texts]}
    return {"seconds": _timed(search, texts, k), "memory_mb": memory_mb()}


def _timed(search: Search, texts: list[str], k: int) -> float:
    begun = time.perf_counter()
    search(texts, k)
    return time.perf_counter() - begun


def main() -> None:
    """Build, or open and answer."""
    action, name, *places = sys.argv[1:]
    build, opened = ENGINES[name]
    if action == "build":
        begun = time.perf_counter()
        build(*map(Path, places))
        seconds = time.perf_counter() - begun
        print(json.dumps({"seconds": seconds, "memory_mb": memory_mb()}), flush=True)
        return
    search = opened(Path(places[0]))
    search(["糖尿病吃什么"], 10)
    print(json.dumps({"memory_mb": memory_mb()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(search, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
