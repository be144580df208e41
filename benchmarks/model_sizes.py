"""What fewer dimensions and a smaller first pass cost: size, speed, quality of the embedded model.

    python benchmarks/model_sizes.py

The vectors of open-medical, whole or cut to their first numbers, in exact indexes whose first pass
reads float32, int8 or bits; the best of it are scored again in float32. All indexes answer all
queries of both dev sets for their best 10, in turns, in an order shuffled each round. Bytes are
those that a query reads: of the first pass. The encoder is the int8 one that is shipped; with
`--master models/corom-medical` also the same weights in float32: what int8 costs (a quarter of an
hour more). Writes results/sizes.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench import DATA, ROOT, command_line, describe, spread, table
from corom.encoder import Encoder
from corom.evaluation import Dense
from corom.files import write_json
from corom.index import ExactOptions, VectorIndex
from corom.metrics import evaluate_run
from corom.readers import Dataset, open_dataset
from corom.records import Passage
from corom.vectors import Vectors
from vector_files import of_passages, of_queries

SPLITS = ("consult-dev", "huatuo-dev")
DIMS = (512, 256, 128, 64)
BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "binary": 0.125}


class Case(NamedTuple):
    """An index, and its queries by split."""

    name: str
    index: VectorIndex
    queries: dict[str, Vectors]
    row: dict[str, Any]


def cases(
    encoder: Encoder,
    dataset: Dataset,
    work: Path,
    *,
    name: str,
    dims: tuple[int, ...],
    passes: tuple[str, ...],
) -> list[Case]:
    """Return an index for each number of dimensions and each first pass."""
    found = []
    known = [Passage(one.id, "") for one in dataset.passages()]
    for dim in dims:
        model = Dense(encoder, name=name, work=work, truncate_dim=dim)
        vectors = of_passages(model, dataset)
        queries = {split: of_queries(model, dataset, [split]) for split in SPLITS}
        for precision in passes:
            index = VectorIndex.new(dim, ExactOptions(precision=precision), normalized=True)
            index.add(known, vectors)
            row = {"model": name, "dims": dim, "first pass": precision}
            row["bytes a passage"] = dim * BYTES[precision]
            found.append(Case(f"{name} {dim} {precision}", index, queries, row))
    return found


def judge(case: Case, dataset: Dataset) -> None:
    """Add the figures of quality to a case's row."""
    for split in SPLITS:
        hits = case.index.search(case.queries[split], 10)
        ids = [query.id for query in dataset.queries(split)]
        run = dict(zip(ids, hits, strict=True))
        found = evaluate_run(run, list(dataset.qrels(split)), measures=["MRR@10"])
        case.row[f"{split} MRR@10"] = found.means["MRR@10"]


def main() -> None:
    """Measure, write and print."""
    asked = parse()
    dataset = open_dataset(asked.data)
    shipped = Encoder.load("corom-medical")
    found = cases(
        shipped, dataset, asked.work, name="int8", dims=DIMS, passes=("fp32", "int8", "binary")
    )
    if asked.master:
        master = Encoder.load(str(asked.master), precision="fp32")
        found += cases(master, dataset, asked.work, name="fp32", dims=(512,), passes=("fp32",))
    for case in found:
        judge(case, dataset)
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {case.name: [] for case in found}
    for _ in range(asked.rounds):
        for place in rng.permutation(len(found)):
            case = found[place]
            started = time.perf_counter()
            for vectors in case.queries.values():
                case.index.search(vectors, 10)
            seconds[case.name].append(time.perf_counter() - started)
    count = sum(map(len, found[0].queries.values()))
    for case in found:
        case.row["queries a second"] = count / median(seconds[case.name])
        times = spread(seconds[found[0].name], seconds[case.name])
        case.row["times the first"] = times["median"]
    rows = [case.row for case in found]
    options = {name: str(value) for name, value in vars(asked).items()}
    write_json(asked.json, {**describe(threads=2), "settings": options, "rows": rows})
    print(table(rows))


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = command_line(__doc__, "sizes.json")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--master", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / ".bench" / "model-table")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
