"""The whole evaluation of one model, side by side: corom against sentence-transformers and faiss.

    make bench-evaluate          (or, in an environment with corom and the peers:)
    python benchmarks/bench_evaluate.py --share 20

The job: load the model, encode the corpus (texts cut at what the model reads, 256 tokens) and all
queries, rank the best 1,000 passages of each query exactly, compute MRR@10 and Recall@1000. corom's
is `corom evaluate` with the embedded model; the other, evaluate_peer.py, is what one writes with
sentence-transformers in fp32 and faiss' flat index, on the same weights (their master).

Nearly all of the time goes into encoding the corpus. Of that both encode only one passage in
`--share`, a seeded sample, in slices; they take turns, and the order alternates. The rest of the
job, start and search over all passages included, both do whole, as processes that start from
nothing, with vectors of the passages that corom encoded beforehand. So

    seconds of the whole job = share * seconds of encoding the sample + seconds of the rest

and `--share 1` measures every part whole. corom's encoding includes that it keeps the vectors on
disk; its rest includes that it checks them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import CORES, DATA, ROOT, command_line, describe, say
from corom import Encoder
from corom.environment import cache_folder
from corom.evaluation import Dense
from corom.files import read_json, write_json
from corom.models.checkpoint import load_checkpoint
from corom.readers import Dataset, open_dataset
from encode_peak import Peak
from encode_report import needed_operations
from vector_files import of_passages
from worker import Worker

SIDES = ("corom", "peer")
MEASURES = ("MRR@10", "Recall@1000")


class Side:
    """One of the two encoders, loaded and warm; lives in a Worker."""

    def __init__(self, name: str, model: str, threads: int, work: Path) -> None:
        if name == "corom":
            dense = Dense(Encoder.load(model, threads=threads), name=name, work=work)
            self._encode = lambda texts: list(dense.vectors(texts, side="passage"))
        else:
            import evaluate_peer

            self._encode = partial(evaluate_peer.encode, evaluate_peer.load(model, threads=threads))
        self.encode(["头痛发热三天"] * 64)  # compiles

    def encode(self, texts: list[str]) -> float:
        """Return the seconds that encoding takes."""
        started = time.perf_counter()
        self._encode(texts)
        return time.perf_counter() - started


def encode_in_turns(texts: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return each side's seconds for every slice of `texts`."""
    models = {"corom": options.model, "peer": str(options.master)}
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    with TemporaryDirectory() as work:
        given = {name: (name, models[name], options.threads, Path(work)) for name in SIDES}
        sides = {name: Worker(Side, *given[name]) for name in SIDES}
        for number in range(options.slices):
            part = texts[number :: options.slices]
            for name in SIDES if number % 2 else reversed(SIDES):
                seconds[name].append(round(sides[name].ask("encode", part), 3))
            took = ", ".join(f"{name} {each[-1]:.1f} s" for name, each in seconds.items())
            say(f"slice {number + 1}: {took}")
        for side in sides.values():
            side.close()
    return seconds


def rest(name: str, options: argparse.Namespace, vectors: Path, out: Path) -> dict[str, Any]:
    """Run all of the job but the encoding of the corpus; return its seconds and figures."""
    if name == "corom":
        command: list[Any] = [sys.executable, "-m", "corom", "evaluate", options.data]
        for split in open_dataset(options.data).splits:
            command += ["--split", split]
        for measure in MEASURES:
            command += ["--measure", measure]
        command += ["--model", options.model, "--threads", options.threads]
        command += ["--work", only_passages(options.work, out.parent / "work"), "--json", out]
    else:
        peer = Path(__file__).with_name("evaluate_peer.py")
        command = [
            sys.executable,
            peer,
            options.data,
            options.master,
            out,
            options.threads,
            vectors,
        ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    started = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds = time.perf_counter() - started
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    return {
        "seconds": round(seconds, 3),
        "parts": {each["split"]: each["seconds"] for each in results},
        "figures": {each["split"]: {m: each["metrics"][m] for m in MEASURES} for each in results},
    }


def only_passages(work: Path, folder: Path) -> Path:
    """Return a new folder with the kept vectors of passages, and none of queries."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for options in work.glob("*/options.json"):
        if read_json(options)["side"] == "passage":
            (folder / options.parent.name).symlink_to(options.parent.resolve())
    return folder


def kept_vectors(dataset: Dataset, options: argparse.Namespace, path: Path) -> None:
    """Leave the vectors of all passages in `path`; encodes what is not kept below --work."""
    encoder = Encoder.load(options.model, threads=options.threads)
    dense = Dense(encoder, name=options.model, work=options.work)
    np.save(path, of_passages(dense, dataset))


def summed(seconds: dict[str, list[float]], rests: dict[str, list[Any]], share: float) -> Any:  # noqa: ANN401
    """Return the seconds of each side's whole job, and their ratio."""
    whole = {
        name: share * sum(seconds[name]) + median(run["seconds"] for run in rests[name])
        for name in SIDES
    }
    turns = zip(seconds["peer"], seconds["corom"], strict=True)
    ratios = sorted(theirs / ours for theirs, ours in turns)
    return {
        "seconds": {name: round(value, 1) for name, value in whole.items()},
        "ratio": round(whole["peer"] / whole["corom"], 2),
        "ratio_of_encoding": [round(value, 2) for value in ratios],
    }


def ceiling(texts: list[str], peaks: list[float], options: argparse.Namespace) -> dict[str, float]:
    """Return what encoding the corpus must multiply, and the seconds that takes at the peak.

    The operations are those of `encode_report.needed_operations`: no padding, the last layer for
    one token only. The peak is measured before and after: int8 products and nothing else.
    """
    encoder = Encoder.load(options.model, threads=options.threads)
    shape = load_checkpoint(encoder.folder, name=options.model).shape
    lengths = encoder.count_tokens(texts)
    operations = needed_operations(shape, lengths)
    return {
        "tokens": sum(lengths),
        "operations": operations,
        "int8_peak": max(peaks),
        "seconds_at_peak": operations / max(peaks),
    }


def parsed() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = command_line(__doc__, "evaluate.json")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--master", type=Path, default=ROOT / "models" / "corom-medical")
    parser.add_argument("--model", default="corom-medical")
    parser.add_argument("--share", type=int, default=20, help="both encode one passage in so many")
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2, help="of the rest of the job")
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=cache_folder() / "evaluate")
    return parser.parse_args()


def main() -> None:
    """Measure, and write what was measured."""
    options = parsed()
    dataset = open_dataset(options.data)
    texts = [passage.content for passage in dataset.passages()]
    sample = random.Random(options.seed).sample(texts, max(1, len(texts) // options.share))  # noqa: S311
    found: dict[str, Any] = describe(threads=options.threads)
    rests: dict[str, list[Any]] = {name: [] for name in SIDES}
    with TemporaryDirectory() as temporary:
        vectors, out = Path(temporary) / "vectors.npy", Path(temporary) / "out.json"
        kept_vectors(dataset, options, vectors)
        peak = Peak(threads=options.threads)
        peaks = [peak.measure()["int8"]]
        seconds = encode_in_turns(sample, options)
        peaks.append(peak.measure()["int8"])
        for number in range(options.rounds):
            for name in SIDES if number % 2 else reversed(SIDES):
                rests[name].append(rest(name, options, vectors, out))
                say(f"the rest, {name}: {rests[name][-1]['seconds']} s")
    found |= {
        "dataset": {"name": dataset.name, "checksum": dataset.checksum(), "passages": len(texts)},
        "sampled": len(sample),
        "encoding_seconds": seconds,
        "rest": rests,
        "ceiling": ceiling(texts, peaks, options),
        "whole": summed(seconds, rests, len(texts) / len(sample)),
    }
    found["machine"]["load_average_after"] = os.getloadavg()[0]
    write_json(options.json, found)
    say(f"{found['whole']}")


if __name__ == "__main__":
    main()
