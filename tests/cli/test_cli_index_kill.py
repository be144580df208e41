"""kill -9 of `corom index` at random moments; the rerun finishes with the same result."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from cli.killed_index import run
from corom.errors import ArtifactError
from corom.index import BM25Index, VectorIndex, open_index

KILLS = 15  # of each kind of index


class Job:
    """`corom index` in processes forked from one that has everything imported."""

    def __init__(self, corpus: Path, model: Path | str, folder: Path) -> None:
        self.folder = folder
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["cli.killed_index", "corom.engines.openvino_engine", "tantivy", "rjieba"]
        )
        options = ("--to", folder, "-m", model, "--precision", "fp32")
        self.arguments = [str(each) for each in ("index", corpus, *options)]

    def start(self) -> multiprocessing.process.BaseProcess:
        receive, send = self.context.Pipe(duplex=False)
        process = self.context.Process(target=run, args=(self.arguments, send))
        process.start()
        send.close()
        receive.recv_bytes()
        receive.close()
        return process

    def finish(self) -> float:
        """Run to the end and return how many seconds it took."""
        process = self.start()
        started = time.perf_counter()
        process.join()
        assert process.exitcode == 0
        return time.perf_counter() - started


def contents(folder: Path) -> list[object] | str:
    """Everything a search can see, the vectors to the bit; or why there is nothing to see."""
    try:
        index = open_index(folder)
    except ArtifactError as error:
        known = {"holds no index": "nothing", "was not finished": "not finished"}
        return next(state for words, state in known.items() if words in str(error))
    rows = index.collection.find([str(n) for n in range(40)])
    found: list[object] = [index.collection.passages(rows), index.spec]
    if isinstance(index, VectorIndex):
        found.append(index.collection.take("vectors", rows).tobytes())
    else:
        found.append(index.search(["糖尿病饮食", "头痛"], 50))
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="needs forked processes"
)
@pytest.mark.parametrize("kind", ["vectors", "words"])
def test_killed_at_random_moments(kind: str, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tantivy")
    pytest.importorskip("rjieba")
    corpus = tmp_path / "corpus.tsv"
    texts = (f"{n}\t糖尿病饮食治疗{'头痛' * (n % 5)}{n}\n" for n in range(40))
    corpus.write_text("".join(texts), encoding="utf-8")
    name = model if kind == "vectors" else "bm25"
    rng = np.random.default_rng(11)

    whole = Job(corpus, name, tmp_path / "whole")
    seconds = whole.finish()
    expected = contents(whole.folder)
    kills = part_way = 0
    for attempt in range(60):
        if kills >= KILLS and part_way:
            break
        job = Job(corpus, name, tmp_path / f"killed-{attempt}")
        for _ in range(4):
            process = job.start()
            process.join(rng.uniform(0, seconds))
            kills += process.exitcode is None
            process.kill()
            process.join()
            state = contents(job.folder)
            assert state in (expected, "nothing", "not finished")
            part_way += state == "not finished"
        job.finish()
        assert contents(job.folder) == expected
        assert isinstance(open_index(job.folder), BM25Index) == (kind == "words")
    assert kills >= KILLS
    assert part_way  # kills came in the middle of things, too
