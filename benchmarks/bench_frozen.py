"""How fast a base's or teacher's vectors are computed while training on a CPU, by what does it.

    python benchmarks/bench_frozen.py --json results/frozen-speed.json    # two minutes

corom's CPU engine (`corom.training.frozen.CpuModel`) and the torch module that learns
(`DeviceModel`) give the vectors of the same real passages in turn, 256 at once, in one process with
as many threads each.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from bench import BASE, SHARED, command_line, describe, spread
from corom.engines.processor import has_bf16
from corom.files import sha256, write_json
from corom.readers import read_pairs
from corom.tokens import TokenIds
from corom.training.batches import Texts, make_cutters
from corom.training.frozen import CpuModel, DeviceModel, Model
from corom.training.tower import open_checkpoint

_AT_ONCE = 256
_EVERY = 50
"""Pairs come source after source: so many are passed over for one that is taken."""


def options() -> argparse.Namespace:
    """Return what is asked for."""
    parser = command_line(__doc__)
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--pairs", type=Path, default=SHARED / "data/train/pairs.jsonl.xz")
    parser.add_argument("--passages", type=int, default=1024)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def measure(models: dict[str, Model], tokens: list[TokenIds], *, rounds: int) -> dict[str, Any]:
    """Return the texts a second in each round, the ratios and the least cosine of two models."""
    found = {name: model.vectors(tokens, at_once=_AT_ONCE) for name, model in models.items()}
    speeds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            started = time.perf_counter()
            model.vectors(tokens, at_once=_AT_ONCE)
            speeds[name].append(len(tokens) / (time.perf_counter() - started))
    ours, theirs = found.values()
    return {
        "texts_per_s": speeds,
        "ratios": [own / other for own, other in zip(*speeds.values(), strict=True)],
        "least_cosine": float(torch.nn.functional.cosine_similarity(ours, theirs).min()),
    }


def main() -> None:
    """Measure in fp32, and in bf16 where the chip has it; print and write."""
    asked = options()
    checkpoint, cpu = open_checkpoint(asked.model), torch.device("cpu")
    pairs = islice(read_pairs(asked.pairs), 0, asked.passages * _EVERY, _EVERY)
    texts = Texts((), tuple(pair.positive for pair in pairs))
    tokens = texts.cut(
        make_cutters(checkpoint, query_length=asked.length, passage_length=asked.length)
    )
    tables = {}
    for precision in ("fp32", "bf16") if has_bf16() else ("fp32",):
        bf16 = precision == "bf16"
        models: dict[str, Model] = {
            "corom": CpuModel(checkpoint, bf16=bf16),
            "torch": DeviceModel(checkpoint, device=cpu, bf16=bf16),
        }
        tables[precision] = measure(models, tokens, rounds=asked.rounds)
        times = spread(*tables[precision]["texts_per_s"].values())
        print(
            f"{precision}: {times['median']:.2f}x [{times['least']:.2f}, {times['most']:.2f}], "
            f"least cosine {tables[precision]['least_cosine']:.5f}",
            flush=True,
        )
    if asked.json:
        write_json(
            asked.json,
            {
                "passages": len(tokens),
                "length": asked.length,
                "model": checkpoint.fingerprint,
                "data": sha256(asked.pairs),
                "precisions": tables,
                **describe(threads=torch.get_num_threads()),
            },
        )


if __name__ == "__main__":
    main()
