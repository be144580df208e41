"""The whole evaluation of one model, side by side: corom against sentence-transformers and faiss.

    make bench-evaluate          (or, in an environment with corom and the peers:)
    python benchmarks/bench_evaluate.py --passages 2000 --rounds 3

Both jobs are processes that start from nothing: load the model, encode the corpus and 2,000
queries (texts cut at 128 tokens), rank the best 1,000 passages of each query exactly, compute
MRR@10 and Recall@1000. corom's is `corom evaluate` with the embedded model; the other
(evaluate_peer.py) is what one writes with sentence-transformers in fp32 and faiss' flat index, on
the weights the embedded model was made from. They take turns; a ratio is taken within a round.
`--passages` keeps all that are relevant and a sample of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from corom.files import write_json
from corom.readers import Dataset, open_dataset
from encode_machine import describe

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def sampled(dataset: Dataset, passages: int, folder: Path, *, seed: int) -> Path:
    """Write a data set of the relevant passages and so many others that there are `passages`."""
    relevant = {q.passage_id for split in dataset.splits for q in dataset.qrels(split) if q.grade}
    others = [p.id for p in dataset.passages() if p.id not in relevant]
    wanted = min(len(others), max(0, passages - len(relevant)))
    kept = relevant | set(random.Random(seed).sample(others, wanted))  # noqa: S311
    folder.mkdir()
    with (folder / "corpus.tsv").open("w", encoding="utf-8") as file:
        file.writelines(f"{p.id}\t{p.content}\n" for p in dataset.passages() if p.id in kept)
    for split in dataset.splits:
        with (folder / f"{split}.query.txt").open("w", encoding="utf-8") as file:
            file.writelines(f"{q.id}\t{q.text}\n" for q in dataset.queries(split))
        with (folder / f"qrels.{split}.tsv").open("w", encoding="utf-8") as file:
            file.writelines(
                f"{q.query_id}\t0\t{q.passage_id}\t{q.grade}\n" for q in dataset.qrels(split)
            )
    return folder


def timed(command: list[Any], out: Path, *, threads: int) -> dict[str, Any]:
    """Run a job; return its seconds from start to end, its figures and its parts' seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT / "src")}
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds = time.perf_counter() - started
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    return {
        "seconds": round(seconds, 2),
        "parts": [each["seconds"] for each in results],
        "figures": {
            each["split"]: {name: each["metrics"][name] for name in ("MRR@10", "Recall@1000")}
            for each in results
        },
    }


def both(data: Path, options: argparse.Namespace, *, first: str) -> dict[str, Any]:
    """Return one round of both jobs."""
    dataset, found = open_dataset(data), {}
    for name in sorted(("corom", "peer"), key=lambda name: name != first):
        with TemporaryDirectory() as temporary:
            out, work = Path(temporary) / "out.json", Path(temporary) / "work"
            if name == "corom":
                splits = [word for split in dataset.splits for word in ("--split", split)]
                command = [sys.executable, "-m", "corom", "evaluate", data, *splits, "--work", work]
                command += ["--model", options.model, "--threads", options.threads, "--json", out]
                command += ["--measure", "MRR@10", "--measure", "Recall@1000"]
            else:
                peer = Path(__file__).with_name("evaluate_peer.py")
                command = [options.peer_python, peer, data, options.base, out, options.threads]
            job = timed([str(word) for word in command], out, threads=options.threads)
            found[name] = job
            print(f"{name}: {job['seconds']} s {job['figures']}", flush=True)
    found["ratio"] = round(found["peer"]["seconds"] / found["corom"]["seconds"], 2)
    print(f"{found['ratio']} times faster", flush=True)
    return found


def main() -> None:
    """Run the rounds and write what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "eval" / "open-medical")
    parser.add_argument("--base", type=Path, default=SHARED / "models" / "bge-small-zh-v1.5")
    parser.add_argument("--model", default="corom-medical")
    parser.add_argument("--passages", type=int, help="default: all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    passages = sum(1 for _ in dataset.passages())
    with TemporaryDirectory() as temporary:
        data = options.data
        if options.passages is not None:
            passages = options.passages
            data = sampled(dataset, passages, Path(temporary) / "data", seed=options.seed)
        rounds = [
            both(data, options, first="corom" if number % 2 else "peer")
            for number in range(options.rounds)
        ]
    found = {
        **describe(threads=options.threads),
        "command": f"python benchmarks/bench_evaluate.py --passages {passages}"
        f" --rounds {options.rounds}",
        "dataset": {"name": dataset.name, "checksum": dataset.checksum(), "passages": passages},
        "rounds": rounds,
        "ratio": median(each["ratio"] for each in rounds),
    }
    if options.json:
        write_json(options.json, found)
    print(f"median of {len(rounds)}: {found['ratio']} times faster", flush=True)


if __name__ == "__main__":
    main()
