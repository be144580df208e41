"""How much of fp32 the faster precisions keep, on real weights and a whole corpus.

    python benchmarks/bench_fidelity.py --model ../shared/models/bge-small-zh-v1.5 \
        --data ../shared/data/eval/open-medical --json results/fidelity.json

Encodes every passage and query in fp32, bf16 and int8 (vectors are kept in `--work`, so a second
run only measures) and reports cosine to fp32, overlap of the ten nearest, MRR@10 and Recall@10.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from bench import command_line, describe
from corom.encoder import Encoder
from corom.evaluation import Dense
from corom.files import write_json
from corom.metrics import evaluate_run
from corom.readers import Dataset, open_dataset
from corom.vectors import Vectors, cosines
from vector_files import of_passages, of_queries

PRECISIONS = ("fp32", "int8", "bf16")
MEASURES = ("MRR@10", "Recall@10", "Recall@1000")
DEPTH = 1000


def measure(dense: Dense, dataset: Dataset, exact: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a precision; `exact` holds what the first gave, or is filled with it."""
    vectors = of_passages(dense, dataset)
    first = exact.setdefault("passages", vectors)
    row: dict[str, Any] = {"passage_cosine": summary(first, vectors)}
    index = dense.index(dataset.passages())
    for split in dataset.splits:
        queries = list(dataset.queries(split))
        hits = index.search(queries, DEPTH)
        run = dict(zip((query.id for query in queries), hits, strict=True))
        figures = evaluate_run(run, dataset.qrels(split), measures=MEASURES).means
        top = [{hit.id for hit in found[:10]} for found in hits]
        pairs = zip(exact.setdefault(f"{split} top", top), top, strict=True)
        vectors = of_queries(dense, dataset, [split])
        row[split] = {
            "query_cosine": summary(exact.setdefault(split, vectors), vectors),
            "top10_overlap": float(np.mean([len(one & other) / 10 for one, other in pairs])),
            **figures,
        }
    return row


def summary(exact: Vectors, quick: Vectors) -> dict[str, float]:
    """Return mean and least cosine of rows."""
    values = cosines(exact, quick)
    return {"mean": float(values.mean()), "min": float(values.min())}


def options() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = command_line(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".bench/fidelity"))
    return parser.parse_args()


def main() -> None:
    """Run the comparison, print and write it."""
    asked, exact, found = options(), dict[str, Any](), dict[str, Any]()
    dataset = open_dataset(asked.data)
    for precision in PRECISIONS:
        encoder = Encoder.load(asked.model, engine="openvino", precision=precision)
        dense = Dense(encoder, name=precision, work=asked.work, normalize=True)
        found[precision] = measure(dense, dataset, exact)
        print(precision, json.dumps(found[precision], ensure_ascii=False), flush=True)
    if asked.json:
        result = {
            **describe(),
            "model": Path(asked.model).name,
            "fingerprint": encoder.fingerprint,
            "dataset": {"name": dataset.name, "checksum": dataset.checksum()},
            "precisions": found,
        }
        write_json(asked.json, result)


if __name__ == "__main__":
    main()
