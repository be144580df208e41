"""Does CoROM pre-training help retrieval, and does its masking? One small budget for each way.

    python benchmarks/bench_pretraining.py        # about 25 minutes on two cores

The same `--steps` of pre-training from the base weights on medical text, once hiding tokens by
their importance (retrieval-oriented masking) and once at random, with Condenser's head and the
span contrast both times; then the same stage 1 (`--rows` pairs, random negatives, only the last
block learns), also from the base as it is. Judged by the MRR@10 of two dev sets among their own
passages and `--passages` others, with intervals by query and a paired test against no pre-training.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from bench import BASE, ROOT, SHARED, command_line, describe
from corom.encoder import Encoder
from corom.evaluation import Dense, evaluate, to_json, to_text
from corom.files import write_json
from corom.readers import open_dataset
from corom.training import pretrain, sample, train
from corom.training.mining_settings import SampleSettings
from corom.training.settings import PretrainSettings, TrainSettings
from corom.training.tables import from_table

WAYS = ("none", "importance", "random")
SPLITS = ("consult-dev", "huatuo-dev")
SOURCES = {"toyhom*": 1.0, "skymed*": 1.0, "musicrap*": 1.0, "heima*": 1.0, "*": 0.0}
POOL = {**SOURCES, "chatmed*": 0.2, "medical_books*": 0.1, "kg_*": 0.03, "caregpt*": 0.1}


def main() -> None:
    """Train every way, measure all, write and print."""
    asked = parse()
    work: Path = asked.work
    reduced(asked.data / "eval" / "open-medical", work / "open-medical", asked.passages)
    pairs = sample(
        SampleSettings(
            data=(str(asked.data / "train" / "pairs.jsonl.xz"),),
            output=str(work / "sample"),
            weights={**POOL, "*": 0.0},
            most=asked.rows,
        )
    )
    models, seconds = {}, {}
    for way in WAYS:
        started = time.perf_counter()
        base = str(asked.model) if way == "none" else pretrained(asked, way)
        seconds[way] = round(time.perf_counter() - started)
        models[way] = train(stage1(asked, way, base, str(pairs[0]))).model
    names = {"base": asked.model, **models}
    report = evaluate(
        open_dataset(work / "open-medical"),
        [
            Dense(
                Encoder.load(str(m), precision="int8"),
                name=name,
                work=work / "vectors",
                normalize=True,  # the base's folder says nothing of lengths
            )
            for name, m in names.items()
        ],
        splits=SPLITS,
        measures=("MRR@10", "Recall@100"),
        depth=100,
        against="none",
    )
    options = {name: str(value) for name, value in vars(asked).items()}
    found = {"settings": options, "pretraining_seconds": seconds, **to_json(report)}
    write_json(asked.json, {**describe(threads=asked.threads), **found})
    print(to_text(report))


def pretrained(asked: argparse.Namespace, masking: str) -> str:
    """Return the model that so many steps of pre-training give."""
    settings = from_table(
        PretrainSettings,
        {
            "model": str(asked.model),
            "output": str(asked.work / f"pretrained-{masking}"),
            "texts": [str(asked.data / "text" / "medical.txt.xz")],
            "masking": masking,
            "span_length": 64,
            "optimizer": {"max_steps": asked.steps, "batch": 64, "learning_rate": 5e-5},
            "run": {"device": "cpu", "checkpoint_every": 20},
        },
    )
    return str(pretrain(settings).model)


def stage1(asked: argparse.Namespace, way: str, base: str, pairs: str) -> TrainSettings:
    """Return the settings of stage 1, the same for all ways."""
    table = {
        "model": base,
        "output": str(asked.work / f"stage1-{way}"),
        "data": {"train": [pairs], "fill": "random", "negatives": 24, "weights": SOURCES},
        "loss": {"temperature": 0.01, "base_weight": 0.5},
        "optimizer": {
            "trained": "last block",
            "epochs": 3,
            "batch": 256,
            "learning_rate": 4e-4,
        },
        "run": {"device": "cpu"},
    }
    return from_table(TrainSettings, table)


def reduced(source: Path, target: Path, passages: int) -> None:
    """Write a data set with the relevant passages of `SPLITS` and so many others."""
    if target.exists():
        return
    dataset = open_dataset(source)
    needed = {qrel.passage_id for split in SPLITS for qrel in dataset.qrels(split)}
    everything = list(dataset.passages())
    others = [n for n, passage in enumerate(everything) if passage.id not in needed]
    drawn = set(np.random.default_rng(0).permutation(others)[:passages].tolist())
    draft = target.with_suffix(".part")
    draft.mkdir(parents=True)
    with (draft / "corpus.tsv").open("w", encoding="utf-8") as file:
        for number, passage in enumerate(everything):
            if number in drawn or passage.id in needed:
                file.write(f"{passage.id}\t{passage.content}\n")
    for split in SPLITS:
        shutil.copy(source / f"{split}.query.txt", draft)
        shutil.copy(source / f"qrels.{split}.tsv", draft)
    draft.rename(target)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = command_line(__doc__, "pretraining.json")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--model", type=Path, default=BASE)
    parser.add_argument("--work", type=Path, default=ROOT / ".bench" / "pretraining")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
