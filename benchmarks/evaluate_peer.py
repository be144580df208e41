"""The evaluation as one writes it with sentence-transformers and faiss; see bench_evaluate.py.

python evaluate_peer.py DATA MODEL OUT.json THREADS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import torch
from sentence_transformers import SentenceTransformer, models

DEPTH = 1000
MAX_LENGTH = 128


def read(path: Path) -> tuple[list[str], list[str]]:
    """Return ids and texts."""
    rows = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [row[0] for row in rows], [row[1] for row in rows]


def main(data: Path, model: str, out: Path, threads: int) -> None:
    """Encode, search, measure, write."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    word = models.Transformer(model, max_seq_length=MAX_LENGTH)
    pooling = models.Pooling(word.get_word_embedding_dimension(), pooling_mode="cls")
    encoder = SentenceTransformer(modules=[word, pooling, models.Normalize()], device="cpu")
    started = time.perf_counter()
    ids, texts = read(data / "corpus.tsv")
    vectors = encoder.encode(texts, batch_size=32, show_progress_bar=False)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    indexing = time.perf_counter() - started
    results = []
    for file in sorted(data.glob("*.query.txt")):
        split = file.name.removesuffix(".query.txt")
        started = time.perf_counter()
        query_ids, queries = read(file)
        asked = encoder.encode(queries, batch_size=32, show_progress_bar=False)
        _, places = index.search(asked, min(DEPTH, len(ids)))
        searching = time.perf_counter() - started
        relevant: dict[str, set[str]] = {}
        for line in (data / f"qrels.{split}.tsv").read_text(encoding="utf-8").splitlines():
            query, _, passage, grade = line.split()
            if int(grade) >= 1:
                relevant.setdefault(query, set()).add(passage)
        reciprocal, recall = [], []
        for query, row in zip(query_ids, places, strict=True):
            if query not in relevant:
                continue
            found = [ids[place] in relevant[query] for place in row]
            first = found[:10].index(True) + 1 if any(found[:10]) else None
            reciprocal.append(1 / first if first else 0.0)
            recall.append(sum(found) / len(relevant[query]))
        metrics = {"MRR@10": float(np.mean(reciprocal)), "Recall@1000": float(np.mean(recall))}
        seconds = {"indexing": round(indexing, 3), "searching": round(searching, 3)}
        results.append({"split": split, "metrics": metrics, "seconds": seconds})
    out.write_text(json.dumps({"results": results}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
