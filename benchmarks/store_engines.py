"""What `bench_stores.py` compares: one corpus in every kind of index, each in its own process."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from corom.evaluation import Stored, evaluate
from corom.index import ExactOptions, HnswOptions, IndexSpec
from corom.readers import open_dataset
from corom.records import Hit
from corom.stores import open_any, open_any_writer
from corom.vectors import Vectors
from processes import family

DEPTH = 10
_CHUNK = 4096
_OFTEN = 0.5
_PATIENCE = 600.0
"""Seconds that 256 queries may take on a busy machine."""
_AT_LEAST = 1.0
"""Seconds of searching that one timing takes at least."""

Run: TypeAlias = dict[str, list[Hit]]


class Engine(NamedTuple):
    """A kind of index and where it is."""

    name: str
    place: str
    """a folder or a URI"""
    spec: IndexSpec
    folder: str
    """whose bytes on disk count"""
    server: int
    """the process whose memory counts, with all its children; 0 if it is the one that searches"""


class Corpus(NamedTuple):
    """What is loaded and asked."""

    dataset: Path
    vectors: Path
    queries: Path
    some: int
    """queries per timing"""


class Running(NamedTuple):
    """A server that was started for the benchmark."""

    uri: str
    """with `{name}` for the name of an index"""
    folder: str
    process: int


def engines(here: Path, spec: IndexSpec, servers: Mapping[str, Running]) -> list[Engine]:
    """Return all engines; `servers` by name."""
    found = []
    for kind, options in (("exact", ExactOptions()), ("hnsw", HnswOptions())):
        own = replace(spec, options=options)
        found += [
            Engine(f"corom {kind}", str(here / kind), own, str(here / kind), 0),
            Engine(
                f"Milvus Lite {kind}", f"milvus://{here}/{kind}.db", own, f"{here}/{kind}.db", 0
            ),
        ]
        for name, (uri, folder, process) in servers.items():
            found.append(Engine(f"{name} {kind}", uri.format(name=kind), own, folder, process))
    return found


class Session:
    """A client of one engine; lives in a Worker."""

    def __init__(self, engine: Engine, corpus: Corpus) -> None:
        self._engine, self._corpus = engine, corpus
        self._queries: Vectors = np.load(corpus.queries, allow_pickle=False)
        self._index: Any = None

    def build(self) -> dict[str, float]:
        """Load the passages and their vectors; seconds until the index is whole."""
        passages = list(open_dataset(self._corpus.dataset).passages())
        vectors = np.load(self._corpus.vectors, mmap_mode="r", allow_pickle=False)
        begun = time.perf_counter()
        with open_any_writer(self._engine.place, self._engine.spec) as writer:
            for start in range(0, len(passages), _CHUNK):
                part = slice(start, start + _CHUNK)
                writer.append(passages[part], np.asarray(vectors[part]))
            loaded = time.perf_counter() - begun
            writer.finish()
        whole = time.perf_counter() - begun
        del passages, vectors
        self._index = open_any(self._engine.place, deadline=_PATIENCE)
        return {"load_seconds": loaded, "build_seconds": whole}

    def evaluate(self) -> dict[str, Any]:
        """Measure the engine as `corom evaluate` does, over all queries."""
        dataset = open_dataset(self._corpus.dataset)
        recorder = _Recorder(self._index)
        row = Stored(name="x", vectors=recorder, encoder=_Known(self._queries, self._engine.spec))
        report = evaluate(
            dataset, [row], splits=dataset.splits, measures=["MRR@10", "nDCG@10"], depth=DEPTH
        )
        figures = {result.split: dict(result.evaluation.means) for result in report.results}
        return {"figures": figures, "hits": recorder.hits}

    def time(self) -> float:
        """Return queries per second."""
        some, done, begun = self._queries[:: len(self._queries) // self._corpus.some], 0, 0.0
        self._index.search(some[:2], DEPTH)
        begun = time.perf_counter()
        while (took := time.perf_counter() - begun) < _AT_LEAST:
            self._index.search(some, DEPTH)
            done += len(some)
        return done / took

    def disk(self) -> float:
        """Return the MB on disk."""
        path = Path(self._engine.folder)
        return sum(_bytes(each) for each in (path, *path.rglob("*"))) / 2**20

    def memory(self) -> float:
        """Return the MB of what searches, shared pages shared out (PSS)."""
        return sum(_pss(each) for each in family(self._engine.server or os.getpid())) / 1024


class _Known:
    """An encoder whose vectors are there already; its callers ask for one split after another."""

    def __init__(self, vectors: Vectors, spec: IndexSpec) -> None:
        self.fingerprint, self.dim = spec.fingerprint, spec.dim
        self._vectors, self._done = vectors, 0

    def encode_queries(self, texts: list[str], **_: Any) -> Vectors:  # noqa: ANN401 - not needed
        """Return the next vectors."""
        self._done += len(texts)
        return self._vectors[self._done - len(texts) : self._done]


class _Recorder:
    """An index that keeps what it answered."""

    def __init__(self, index: Any) -> None:  # noqa: ANN401 - any index
        self._index, self.spec = index, index.spec
        self.hits: list[list[Hit]] = []

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries: Vectors, k: int) -> list[list[Hit]]:
        """Return what the index returns."""
        found = self._index.search(queries, k)
        self.hits += found
        return found


def keep_level(process: int, found: set[int]) -> None:
    """Keep all threads of a process and its children at this one's priority, for ever.

    Milvus gives those that search and build a low one, so that beside other work they stand still.
    `found` collects the priorities they had.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)
    while True:
        for each in family(process):
            for path in Path(f"/proc/{each}/task").glob("*"):
                with suppress(OSError):
                    found.add(os.getpriority(os.PRIO_PROCESS, int(path.name)))
                    os.setpriority(os.PRIO_PROCESS, int(path.name), own)
        time.sleep(_OFTEN)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512 if path.is_file() else 0
    except OSError:  # a server has just removed it
        return 0


def _pss(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text("utf-8")
    except OSError:  # it has just ended
        return 0.0
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
