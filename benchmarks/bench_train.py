"""Texts per second of contrastive training: corom against sentence-transformers, side by side.

Same model, pairs, batch, length, loss (InfoNCE, in-batch and one hard negative each), optimizer
and dropout; one process after the other in alternating rounds, the first steps left out. Needs an
environment with sentence-transformers, datasets and corom's train extra:

    python benchmarks/bench_train.py --model ../shared/models/bge-small-zh-v1.5

Writes every run's texts per second and, for each precision, the ratio of the two runs of a round
to `--json`; each file in results/ names its command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path

from bench import BASE, CORES, SHARED, command_line, describe, spread

SYSTEMS = ("corom", "sentence-transformers")
WARM_UP = 1


def main() -> None:
    """Run all rounds and print a table (or be one of the workers)."""
    options = parse()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pairs.jsonl"
        write_pairs(options, data)
        speeds = {p: {system: list[float]() for system in SYSTEMS} for p in options.precision}
        for number in range(options.rounds):
            for precision in options.precision:
                for system in SYSTEMS if number % 2 == 0 else SYSTEMS[::-1]:
                    speeds[precision][system].append(run(system, precision, data))
            if options.json:  # after each round: what was measured is kept
                save(options, speeds)
    for precision, found in speeds.items():
        show(precision, found)


def parse() -> argparse.Namespace:
    """Return the options; workers get those of their parent."""
    parser = command_line(__doc__)
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--pairs", type=Path, default=SHARED / "data/train/pairs.jsonl.xz")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--device", choices=["cpu", "auto"], default="cpu")
    parser.add_argument(
        "--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"]
    )
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--worker", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    return parser.parse_args()


def write_pairs(options: argparse.Namespace, target: Path) -> None:
    """Write as many pairs as the steps take, each with the next pair's positive as a negative."""
    from corom.readers import read_pairs
    from corom.readers import write_pairs as write

    count = options.batch * (options.steps + WARM_UP) + 1
    pairs = list(islice(read_pairs(options.pairs), count * 20))[::20][:count]
    others = [*pairs[1:], pairs[0]]
    write(
        target,
        (
            pair._replace(negatives=(other.positive,))
            for pair, other in zip(pairs, others, strict=True)
        ),
    )


def run(system: str, precision: str, data: Path) -> float:
    """Return the texts per second of one process."""
    arguments = [*sys.argv[1:], "--worker", system, "--data", str(data), "--precision", precision]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {system:24s} {precision}  {found['texts_per_s']:8.1f} texts/s", flush=True)
    return float(found["texts_per_s"])


def save(options: argparse.Namespace, speeds: dict[str, dict[str, list[float]]]) -> None:
    """Write what was asked, on what it ran and all figures."""
    from corom.files import sha256, write_json

    tables = {
        precision: {
            "texts_per_s": found,
            "ratios": [ours / theirs for ours, theirs in zip(*found.values(), strict=True)],
        }
        for precision, found in speeds.items()
    }
    asked = ("batch", "length", "steps", "rounds", "dropout", "device")
    write_json(
        options.json,
        {
            "options": {name: getattr(options, name) for name in asked},
            "model": sha256(Path(options.model) / "model.safetensors"),
            "data": sha256(options.pairs),
            "precisions": tables,
            **describe(threads=options.threads),
        },
    )


def show(precision: str, speeds: dict[str, list[float]]) -> None:
    """Print medians, and the median of the ratios of neighbouring runs."""
    for system, found in speeds.items():
        print(f"{precision}  {system:24s} median {statistics.median(found):8.1f} texts/s")
    times = spread(*speeds.values())
    least_and_most = f"[{times['least']:.2f}, {times['most']:.2f}]"
    print(f"{precision}  corom is {times['median']:.2f} times as fast {least_and_most}")


def speed(texts: int, seconds: list[float]) -> dict[str, float]:
    """Return the median speed of the steps after the warm-up."""
    return {"texts_per_s": texts / statistics.median(seconds[WARM_UP:])}


def corom(options: argparse.Namespace) -> dict[str, float]:
    """Train with corom."""
    import torch

    from corom.training import train
    from corom.training.settings import TrainSettings
    from corom.training.tables import from_table

    torch.set_num_threads(options.threads)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        table = {
            "model": options.model,
            "output": f"{folder}/run",
            "data": {
                "train": [options.data],
                "negatives": 1,
                "query_length": options.length,
                "passage_length": options.length,
                "unique": False,
            },
            "loss": {"temperature": 0.02},
            "optimizer": {"batch": options.batch, "epochs": 1, "learning_rate": 2e-5},
            "run": {
                "device": options.device,
                "precision": options.precision[0],
                "dropout": options.dropout,
            },
        }
        train(from_table(TrainSettings, table), progress=lambda _: ends.append(time.perf_counter()))
    return speed(3 * options.batch, differences(ends))


def sentence_transformers(options: argparse.Namespace) -> dict[str, float]:
    """Train with sentence-transformers."""
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    from corom.readers import read_pairs

    torch.set_num_threads(options.threads)
    device = None if options.device == "auto" else options.device
    dropout = {
        "hidden_dropout_prob": options.dropout,
        "attention_probs_dropout_prob": options.dropout,
    }
    model = SentenceTransformer(
        options.model,
        device=device,
        config_kwargs=dropout,
        # Version 6 keeps the dtype of the file, half precision here: to train, fp32 it is.
        model_kwargs={"dtype": torch.float32},
    )
    model.max_seq_length = options.length
    pairs = list(read_pairs(Path(options.data)))
    dataset = Dataset.from_dict(
        {
            "anchor": [pair.query for pair in pairs],
            "positive": [pair.positive for pair in pairs],
            "negative": [pair.negatives[0] for pair in pairs],
        }
    )
    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=options.batch,
            dataloader_drop_last=True,
            learning_rate=2e-5,
            bf16=options.precision[0] == "bf16",
            use_cpu=options.device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=dataset,
            loss=MultipleNegativesRankingLoss(model, scale=50.0),
            callbacks=[Clock()],
        ).train()
    return speed(3 * options.batch, differences(ends))


def differences(ends: list[float]) -> list[float]:
    """Return the seconds between the ends of neighbouring steps."""
    return [end - start for start, end in pairwise(ends)]


WORKERS = {"corom": corom, "sentence-transformers": sentence_transformers}

if __name__ == "__main__":
    main()
