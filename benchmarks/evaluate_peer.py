"""The evaluation as one writes it with sentence-transformers and faiss; see bench_evaluate.py.

    python evaluate_peer.py DATA MODEL OUT.json THREADS [VECTORS.npy]

With VECTORS.npy the passages' vectors are read from there instead of being encoded.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

DEPTH = 1000

Vectors = NDArray[np.float32]


def load(model: str, *, threads: int) -> SentenceTransformer:
    """Return the encoder, which reads as many tokens as the folder says: as corom's does."""
    torch.set_num_threads(threads)
    return SentenceTransformer(model, device="cpu")


def encode(encoder: SentenceTransformer, texts: list[str]) -> Vectors:
    """Return the vectors of texts."""
    return np.asarray(encoder.encode(texts, batch_size=32, show_progress_bar=False))


def read(path: Path) -> tuple[list[str], list[str]]:
    """Return ids and texts."""
    rows = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [row[0] for row in rows], [row[1] for row in rows]


def figures(ranked: list[list[str]], queries: list[str], qrels: Path) -> dict[str, float]:
    """Return MRR@10 and Recall@1000 over the queries that have a relevant passage."""
    relevant: dict[str, set[str]] = {}
    for line in qrels.read_text(encoding="utf-8").splitlines():
        query, _, passage, grade = line.split()
        if int(grade) >= 1:
            relevant.setdefault(query, set()).add(passage)
    reciprocal, recall = [], []
    for query, passages in zip(queries, ranked, strict=True):
        if query not in relevant:
            continue
        found = [passage in relevant[query] for passage in passages]
        reciprocal.append(1 / (found.index(True) + 1) if any(found[:10]) else 0.0)
        recall.append(sum(found) / len(relevant[query]))
    return {"MRR@10": float(np.mean(reciprocal)), "Recall@1000": float(np.mean(recall))}


def main(data: Path, model: str, out: Path, threads: int, kept: Path | None = None) -> None:
    """Encode, search, measure, write."""
    faiss.omp_set_num_threads(threads)
    encoder = load(model, threads=threads)
    started = time.perf_counter()
    ids, texts = read(data / "corpus.tsv")
    vectors = encode(encoder, texts) if kept is None else np.load(kept)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    indexing = time.perf_counter() - started
    results = []
    for file in sorted(data.glob("*.query.txt")):
        split = file.name.removesuffix(".query.txt")
        started = time.perf_counter()
        query_ids, queries = read(file)
        _, places = index.search(encode(encoder, queries), min(DEPTH, len(ids)))
        seconds = {"indexing": indexing, "searching": time.perf_counter() - started}
        ranked = [[ids[place] for place in row] for row in places]
        metrics = figures(ranked, query_ids, data / f"qrels.{split}.tsv")
        results.append({"split": split, "metrics": metrics, "seconds": seconds})
    out.write_text(json.dumps({"results": results}), encoding="utf-8")


if __name__ == "__main__":
    data_, model_, out_, threads_, *kept_ = sys.argv[1:]
    main(Path(data_), model_, Path(out_), int(threads_), *map(Path, kept_))
