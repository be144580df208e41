"""Forks builds of an index and kills them, without paying for imports each time.

A line `build FOLDER KIND SECONDS`, `change ...` or `shrink ...` starts one and kills it after so
many seconds (0: never); its exit status is answered. Run with PYTHONPATH on the package and the
tests.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

from corom.index import BM25Options, ExactOptions, HnswOptions, ann, merging, open_writer
from corom.records import Passage
from index.samples import KEEP, append, departments, queries, spec, vectors_for

N, CHUNK = 240, 40
OPTIONS = {
    "exact": ExactOptions(precision="int8"),
    "bm25": BM25Options(cut="bigrams"),
    "hnsw": HnswOptions(links=4, build_effort=10),
}
ann.LEAST = 50
merging.FAN = 3  # so that kills meet merging, too


def build(folder, options):
    """Make the index, going on from where another build was killed."""
    everything, numbers = departments(N), vectors_for(options, N)
    with open_writer(folder, spec(options, source="sample", keep=KEEP)) as writer:
        if not writer.complete:
            append(writer, everything, numbers, size=CHUNK, start=writer.done)
        writer.finish()


def change(folder, options):
    """Remove a passage, and add it and another one."""
    numbers = None if isinstance(options, BM25Options) else 2 * queries(2)
    with open_writer(folder) as writer:
        writer.remove([departments(N)[5].id])
        writer.append([departments(N)[5], Passage("new", "糖尿病糖尿病")], numbers)
        writer.finish()


def shrink(folder, options):
    """Remove all but 30 passages, so that what is left is written again, and add another one."""
    numbers = None if isinstance(options, BM25Options) else 2 * queries(1)
    with open_writer(folder) as writer:
        writer.remove([passage.id for passage in departments(N)[30:]])
        writer.append([Passage("new", "糖尿病糖尿病")], numbers)
        writer.finish()


ACTIONS = {"build": build, "change": change, "shrink": shrink}

if __name__ == "__main__":
    for module in ("faiss", "openvino", "tantivy"):
        import_module(module)
    for line in sys.stdin:
        action, folder, kind, seconds = line.split()
        if not (child := os.fork()):
            ACTIONS[action](Path(folder), OPTIONS[kind])
            os._exit(0)
        if float(seconds):
            time.sleep(float(seconds))
            os.kill(child, signal.SIGKILL)
        os.write(1, f"{os.waitpid(child, 0)[1]}\n".encode())
