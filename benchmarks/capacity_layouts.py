"""What each layout of an index folder takes, built and searched in processes of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import say
from corom.index import ExactOptions, HnswOptions, IndexSpec, IvfPqOptions, open_index, open_writer
from corom.records import Passage
from processes import memory_mb
from vector_files import make_vectors

LAYOUTS = {
    "exact float32": (ExactOptions(), "float32"),
    "exact float16": (ExactOptions(), "float16"),
    "exact int8": (ExactOptions(precision="int8"), "float16"),
    "exact binary": (ExactOptions(precision="binary"), "float16"),
    "hnsw": (HnswOptions(), "float16"),
    "ivfpq": (IvfPqOptions(), "float16"),
}
_CHUNK = 4096
_SECONDS, _TIMES = 3.0, 3
"""All queries are asked at least so long and so often; the median counts."""


def passages(texts: list[str], count: int) -> Iterator[list[Passage]]:
    """Yield so many passages, some at a time."""
    for start in range(0, count, _CHUNK):
        numbers = range(start, min(start + _CHUNK, count))
        yield [Passage(str(n), texts[n % len(texts)]) for n in numbers]


def build(name: str, folder: Path, vectors: Path, texts: list[str]) -> float:
    """Return the seconds that filling and finishing an index took."""
    options, vector_type = LAYOUTS[name]
    numbers = np.load(vectors, mmap_mode="r", allow_pickle=False)
    spec = IndexSpec(options=options, dim=numbers.shape[1], vector_type=vector_type)
    begun = time.perf_counter()
    with open_writer(folder, spec) as writer:
        done = 0
        for part in passages(texts, len(numbers)):
            writer.append(part, np.asarray(numbers[done : done + len(part)]))
            done += len(part)
        writer.finish()
    return time.perf_counter() - begun


def search(folder: Path, queries: Path) -> dict[str, float]:
    """Return queries per second and MB of a process that searches."""
    asked, index = np.load(queries, allow_pickle=False), open_index(folder, deep=False)
    index.search(asked, 10)
    seconds: list[float] = []
    while sum(seconds) < _SECONDS or len(seconds) < _TIMES:
        begun = time.perf_counter()
        index.search(asked, 10)
        seconds.append(time.perf_counter() - begun)
    rate, memory = len(asked) / median(seconds), memory_mb()
    return {"queries_per_second": rate, "memory_bytes": (memory["own"] + memory["mapped"]) * 2**20}


def measure(names: list[str], texts: list[str], *, size: int, dim: int) -> list[dict[str, Any]]:
    """Return a row per layout, as `capacity.Measured` has it."""
    rows, context = [], get_context("spawn")
    with TemporaryDirectory() as temporary:
        here = Path(temporary)
        vectors, queries = make_vectors(here, passages=size, queries=1000, dim=dim)
        for name in names:
            folder = here / "index"
            # A process each, so that the memory of one is not another's.
            with context.Pool(1) as pool:
                seconds = pool.apply(build, (name, folder, vectors, texts))
            with context.Pool(1) as pool:
                found = pool.apply(search, (folder, queries))
            row = {
                "layout": name,
                "passages": size,
                "dim": dim,
                "text_bytes": mean_bytes(texts[:size]),
                "disk_bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
                "build_seconds": seconds,
                **found,
            }
            rows.append(row)
            say(str(row))
            rmtree(folder)
    return rows


def mean_bytes(texts: list[str]) -> float:
    """Return how long texts are in UTF-8."""
    return float(np.mean([len(text.encode()) for text in texts]))
