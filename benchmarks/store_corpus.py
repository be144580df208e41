"""What `bench_stores.py` loads and asks: a data set as it is, a part of it, or many times over."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from shutil import copyfile, copytree
from typing import NamedTuple

import numpy as np

from corom.readers import Dataset, open_dataset

_MOVED = 0.03
"""Standard deviation of the noise that makes another vector of one, before both have length 1; a
neighbour of the same text keeps a cosine of about 0.83 at 512 numbers."""


class Loaded(NamedTuple):
    """A data set and its vectors, in the order of its passages and of its splits' queries."""

    dataset: Dataset
    vectors: Path
    queries: Path


def smaller(given: Loaded, folder: Path, *, passages: int) -> Loaded:
    """Return the data set with its first passages and all relevant ones; cuts the vectors too."""
    dataset = given.dataset
    judged = {q.passage_id for split in dataset.splits for q in dataset.qrels(split)}
    every = list(dataset.passages())
    if passages >= len(every):
        return given
    others = [row for row, passage in enumerate(every) if passage.id not in judged]
    rows = set(range(len(every))) - set(others[passages - len(judged) :])
    lines = [f"{every[row].id}\t{every[row].text}\n" for row in sorted(rows)]
    copytree(dataset.path, folder, copy_function=copyfile)
    (folder / "corpus.tsv").write_text("".join(lines), encoding="utf-8")
    np.save(given.vectors, np.load(given.vectors, allow_pickle=False)[sorted(rows)])
    return given._replace(dataset=open_dataset(folder))


def larger(given: Loaded, folder: Path, *, passages: int) -> Loaded:
    """Return the data set with its passages again and again, their vectors moved a little."""
    every = list(given.dataset.passages())
    numbers = np.load(given.vectors, allow_pickle=False)
    lines = (
        f"{each.id if not n else f'{each.id}-{n}'}\t{each.text}\n"
        for n in range(-(-passages // len(every)))
        for each in every
    )
    copytree(given.dataset.path, folder, copy_function=copyfile)
    (folder / "corpus.tsv").write_text("".join(islice(lines, passages)), encoding="utf-8")
    shape, rng = (passages, numbers.shape[1]), np.random.default_rng(0)
    path = folder / "vectors.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, passages, len(every)):
        part = numbers[: passages - start]
        if start:
            part = part + _MOVED * rng.standard_normal(part.shape, dtype=np.float32)
            part = part / np.linalg.norm(part, axis=1, keepdims=True)
        out[start : start + len(part)] = part
    out.flush()
    return given._replace(dataset=open_dataset(folder), vectors=path)


def fewer_queries(given: Loaded, folder: Path, *, queries: int) -> Loaded:
    """Return the data set with the first queries of each split."""
    numbers, rows, at = np.load(given.queries, allow_pickle=False), [], 0
    copytree(given.dataset.path, folder, copy_function=copyfile)  # not the modes: they are written
    for split in given.dataset.splits:
        own = list(given.dataset.queries(split))
        kept = own[:queries]
        lines = [f"{each.id}\t{each.text}\n" for each in kept]
        (folder / f"{split}.query.txt").write_text("".join(lines), encoding="utf-8")
        ids = {each.id for each in kept}
        judged = [q for q in given.dataset.qrels(split) if q.query_id in ids]
        rows += range(at, at + len(kept))
        at += len(own)
        text = "".join(f"{q.query_id}\t0\t{q.passage_id}\t{q.grade}\n" for q in judged)
        (folder / f"qrels.{split}.tsv").write_text(text, encoding="utf-8")
    path = folder / "queries.npy"
    np.save(path, numbers[rows])
    return given._replace(dataset=open_dataset(folder), queries=path)
