"""How much of fp32 the faster precisions keep, on real weights and a whole corpus.

    python benchmarks/bench_fidelity.py --model ../shared/models/bge-small-zh-v1.5 \
        --data ../shared/data/eval/open-medical --json results/fidelity.json

Encodes every passage and query in fp32, bf16 and int8 (vectors are kept in `--work`, so a second
run only measures) and reports cosine to fp32, overlap of the ten nearest, MRR@10 and Recall@10.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from bench import command_line, describe
from corom.encoder import Encoder
from corom.engines.quantisation import RECIPE
from corom.files import write_json
from corom.metrics import evaluate_run
from corom.ranking import top_k
from corom.readers import open_dataset
from corom.records import Hit
from corom.vectors import cosines, normalized

PRECISIONS = ("fp32", "int8", "bf16")
DEPTH = 1000


def encode(encoder: Encoder, texts: list[str], path: Path, *, side: str) -> np.ndarray:
    """Return the texts' vectors, from `path` if they are there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        vectors = (encoder.encode_queries if side == "query" else encoder.encode_passages)(texts)
        np.save(path, vectors)
        print(f"{path.name}: {len(texts)} texts, {time.perf_counter() - started:.0f} s", flush=True)
    return np.load(path)


def search(queries: np.ndarray, passages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and scores of the best passages by cosine, (q, DEPTH)."""
    parts = [
        top_k(normalized(queries[i : i + 100]) @ normalized(passages).T, DEPTH)
        for i in range(0, len(queries), 100)
    ]
    return np.concatenate([p.positions for p in parts]), np.concatenate([p.scores for p in parts])


def main() -> None:
    """Run the comparison and print it."""
    parser = command_line(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".bench/fidelity"))
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    passages = list(dataset.passages())
    found: dict[str, dict] = {}
    exact: dict[str, np.ndarray] = {}
    for precision in PRECISIONS:
        encoder = Encoder.load(options.model, engine="openvino", precision=precision)
        form = f"int8-{RECIPE}" if precision == "int8" else precision
        folder = options.work / encoder.fingerprint / form
        corpus = encode(
            encoder, [p.text for p in passages], folder / "passages.npy", side="passage"
        )
        row: dict = {"passage_cosine": summary(exact.setdefault("passages", corpus), corpus)}
        for split in dataset.splits:
            queries = list(dataset.queries(split))
            vectors = encode(
                encoder, [q.text for q in queries], folder / f"{split}.npy", side="query"
            )
            positions, scores = search(vectors, corpus)
            run = {
                query.id: [Hit(passages[p].id, float(s)) for p, s in zip(*pair, strict=True)]
                for query, pair in zip(queries, zip(positions, scores, strict=True), strict=True)
            }
            measured = evaluate_run(
                run, dataset.qrels(split), measures=("MRR@10", "Recall@10", "Recall@1000")
            )
            top = exact.setdefault(f"{split} top", positions[:, :10])
            overlap = [
                len(set(a) & set(b)) / 10 for a, b in zip(top, positions[:, :10], strict=True)
            ]
            row[split] = {
                "query_cosine": summary(exact.setdefault(split, vectors), vectors),
                "top10_overlap": float(np.mean(overlap)),
                **{name: float(value) for name, value in measured.means.items()},
            }
        found[precision] = row
        print(precision, json.dumps(row, ensure_ascii=False), flush=True)
    if options.json:
        result = {
            **describe(),
            "model": Path(options.model).name,
            "fingerprint": encoder.fingerprint,
            "dataset": {"name": options.data.name, "checksum": dataset.checksum()},
            "precisions": found,
        }
        write_json(options.json, result)


def summary(exact: np.ndarray, quick: np.ndarray) -> dict[str, float]:
    """Return mean and least cosine of rows."""
    values = cosines(exact, quick)
    return {"mean": float(values.mean()), "min": float(values.min())}


if __name__ == "__main__":
    main()
