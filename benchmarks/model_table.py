"""The table of the embedded model: BM25, the base, what is shipped, fewer dimensions.

    python benchmarks/model_table.py --also "stage 1=runs/corom-medical-mean" \
        --also "stage 2=runs/corom-medical-last/model"

All encoders in int8, the precision that is shipped, and by cosine, also the base, whose folder says
nothing of that: so the figures tell what training did. The base reads the 128 tokens of a folder
that says nothing, and once more as many as the shipped model, as do those in between. Every figure
has its 95 % interval and a paired test against the base. Writes results/model.json.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bench import BASE, ROOT, SHARED, command_line, describe
from corom.encoder import Encoder
from corom.evaluation import Dense, evaluate, evaluate_pairs, pair_files, to_json, to_text
from corom.evaluation.lexical import Lexical
from corom.files import write_json
from corom.readers import open_dataset

SETS = {"open-medical": ("consult-dev", "huatuo-dev"), "cmedir-titles": ("dev",)}
PAIRS = ("cmedqq-dev", "kuake-qqr-dev")
MEASURES = ("MRR@10", "Recall@1000", "nDCG@10")
DIMS = (256, 128, 64)


def main() -> None:
    """Measure everything, write and print."""
    asked = parse()
    shipped = Encoder.load("corom-medical", precision="int8")
    alike = partial(Encoder.load, precision="int8", max_length=shipped.max_length)
    encoders = {
        "base": Encoder.load(str(asked.base), precision="int8"),
        f"base, {shipped.max_length} tokens": alike(str(asked.base)),
        **{name: alike(folder) for name, folder in (each.split("=", 1) for each in asked.also)},
        "corom-medical": shipped,
    }
    found: dict[str, Any] = {}
    for name, splits in SETS.items():
        report = evaluate(
            open_dataset(asked.data / name),
            [Lexical(), *retrievers(encoders, asked.work, dims=DIMS)],
            splits=splits,
            measures=MEASURES,
            against=asked.against,
        )
        found[name] = to_json(report)
        print(to_text(report), flush=True)
    report = evaluate_pairs(
        pair_files(asked.data / "question-pairs"),
        retrievers(encoders, asked.work, dims=()),
        splits=PAIRS,
    )
    found["question-pairs"] = to_json(report)
    print(to_text(report))
    options = {name: str(value) for name, value in vars(asked).items()}
    write_json(asked.json, {**describe(threads=2), "settings": options, "sets": found})


def retrievers(encoders: dict[str, Encoder], work: Path, *, dims: tuple[int, ...]) -> list[Dense]:
    """Return every encoder, and the shipped one with fewer dimensions."""
    unit = partial(Dense, work=work, normalize=True)
    whole = [unit(encoder, name=name) for name, encoder in encoders.items()]
    shipped = encoders["corom-medical"]
    return whole + [
        unit(shipped, name=f"corom-medical, {dim} dims", truncate_dim=dim) for dim in dims
    ]


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = command_line(__doc__, "model.json")
    parser.add_argument("--also", action="append", default=[], help="NAME=FOLDER, repeatable")
    parser.add_argument("--against", default="base", help="the row that the others are tested on")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "eval")
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--work", type=Path, default=ROOT / ".bench" / "model-table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
