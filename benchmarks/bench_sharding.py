"""Two million passages encoded in shards while processes are killed, and what sharding costs.

    make bench-sharding          (or, in an environment with corom[ray]:)
    python benchmarks/bench_sharding.py --passages 2000000 --kills 20

Kills: the passages of `--corpus`, over and over, each time cut elsewhere and numbered, are encoded
twice by two worker processes: once left alone, once while `--kills` kill -9, at random moments,
hit a worker or the driver, which is then started again. Every byte of the two folders is compared,
and the ids are counted. The model is a random BERT of one layer and 64 numbers: what is measured
is that every passage comes exactly once, not speed.

Overhead: the embedded model over `--texts` passages, whole: a plain loop (one process, a thread
per core) against shards by processes and by Ray (a process per core, one thread each). Each runs in
a process of its own, at two sizes, in an order shuffled each round; the slope between the sizes is
the time per passage, the rest is what starting costs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import CORES, DATA, command_line, describe, say
from corom import Encoder
from corom.files import MANIFEST, read_json, sha256, write_json
from corom.readers import open_dataset
from corom.sharding import ShardSpec, encode_shards, open_shards
from corom.sharding.encoding import spec_of
from random_models import write_small_model
from sharding_kills import Killer

_SAME_PRIORITY = {"RAY_worker_niceness": "0"}
"""Ray's workers would take 15, and beside other work wait for it."""
_CUT = 16
"""Characters of a passage in the run of two million."""


def edited(texts: list[str], passages: int) -> Iterator[str]:
    """Yield so many lines `id, tab, text`: round after round, cut further on and numbered."""
    for number in range(passages):
        turn, place = divmod(number, len(texts))
        text = texts[place]
        start = 7 * turn % max(1, len(text) - _CUT)
        yield f"{number}\t{text[start : start + _CUT]}第{turn}版\n"


def write_lines(path: Path, lines: Iterator[str]) -> None:
    """Write lines as they come, a few at a time in memory."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def run(source: str, folder: Path, spec: ShardSpec, workers: int, on: str = "processes") -> None:
    """Encode; the main function of a driver."""
    encode_shards(source, folder, spec=spec, workers=workers, on=on)


def measure_kills(texts: list[str], here: Path, *, passages: int, kills: int) -> dict[str, Any]:
    """Return what an undisturbed and a disturbed run took, and whether they agree."""
    write_small_model(here / "model", dim=64)
    write_lines(here / "corpus.tsv", edited(texts, passages))
    model = str(here / "model")
    spec = spec_of(Encoder.load(model, threads=1), model=model)
    source, start = str(here / "corpus.tsv"), partial(_start, here, spec)
    begun = time.perf_counter()
    driver = start("quiet")
    driver.join()
    quiet = time.perf_counter() - begun
    say(f"undisturbed: {quiet:.0f} s, exit code {driver.exitcode}")
    killer = Killer(
        partial(start, "killed"),
        here / "killed",
        kills=kills,
        shards=-(-passages // spec.rows),
        seconds=quiet / (passages / spec.rows),  # half of what a shard takes a worker
        seed=7,
    )
    begun = time.perf_counter()
    log = killer.run()
    disturbed = time.perf_counter() - begun
    say(f"disturbed: {disturbed:.0f} s, {len(log)} kills")
    left, right = contents(here / "quiet"), contents(here / "killed")
    ids = [id_ for shard in open_shards(here / "killed").shards() for id_ in shard.ids]
    return {
        "passages": passages,
        "source_mb": round(Path(source).stat().st_size / 2**20, 1),
        "model": "random weights: 1 layer, 64 numbers, the embedded vocabulary",
        "passages_per_shard": spec.rows,
        "workers": CORES,
        "undisturbed_seconds": round(quiet, 1),
        "disturbed_seconds": round(disturbed, 1),
        "kills": {kind: sum(k == kind for _, k in log) for kind in ("worker", "driver")},
        "killed_after_seconds": [[round(seconds, 1), kind] for seconds, kind in log],
        "files": len(left),
        "mb": round(sum(f.stat().st_size for f in (here / "killed").iterdir()) / 2**20, 1),
        "same_files_and_bytes": left == right,
        "ids": len(ids),
        "every_id_once_and_in_order": ids == list(map(str, range(passages))),
    }


def _start(here: Path, spec: ShardSpec, name: str) -> Any:  # noqa: ANN401 - a process
    process = get_context("spawn").Process(
        target=run, args=(str(here / "corpus.tsv"), here / name, spec, CORES)
    )
    process.start()
    return process


def contents(folder: Path) -> dict[str, str]:
    """Return the checksum of every file of a finished folder, the manifest's included."""
    if not (folder / MANIFEST).is_file():
        sys.exit(f"{folder} is not finished")
    return {path.name: sha256(path) for path in folder.iterdir() if path.name != ".lock"}


def plain(source: Path, folder: Path) -> None:
    """Encode in one process with all cores, without shards: the loop others are compared with."""
    encoder = Encoder.load(threads=CORES)
    folder.mkdir()
    with source.open(encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t", 1) for line in file]
    vectors = encoder.encode_passages([text for _, text in pairs])
    np.save(folder / "vectors.npy", vectors)
    (folder / "ids.txt").write_text("".join(f"{id_}\n" for id_, _ in pairs), encoding="utf-8")


def sharded(source: Path, folder: Path, *, on: str, rows: int) -> None:
    """Encode in shards with a process per core, as `corom encode --out FOLDER` does."""
    encoder = Encoder.load(threads=1)
    spec = spec_of(encoder, model=encoder.name, rows=rows)
    run(str(source), folder, spec, CORES, on)


def ways(rows: int) -> dict[str, Callable[[Path, Path], None]]:
    """Return what is compared."""
    processes = partial(sharded, on="processes", rows=rows)
    return {"plain": plain, "processes": processes, "ray": partial(sharded, on="ray", rows=rows)}


def measure_overhead(
    texts: list[str], here: Path, *, sizes: tuple[int, int], rows: int, rounds: int
) -> dict[str, Any]:
    """Return seconds of each way at two sizes, and the slope and the rest of each round."""
    for size in sizes:
        lines = (f"{n}\t{text}\n" for n, text in enumerate(islice(texts, size)))
        write_lines(here / f"{size}.tsv", lines)
    names = list(ways(rows))
    seconds: dict[str, dict[int, list[float]]] = {name: {s: [] for s in sizes} for name in names}
    rng = np.random.default_rng(0)
    for number in range(rounds):
        for name in rng.permutation(names).tolist():
            for size in sizes:
                command = [sys.executable, __file__, "--one", name, str(here / f"{size}.tsv")]
                out = here / f"{name}-{size}"
                begun = time.perf_counter()
                command += [str(out), "--rows", str(rows)]
                subprocess.run(command, check=True, env={**os.environ, **_SAME_PRIORITY})
                seconds[name][size].append(time.perf_counter() - begun)
                rmtree(out)
            took = " and ".join(f"{seconds[name][size][-1]:.1f} s" for size in sizes)
            say(f"round {number + 1}: {name} {took}")
    return {
        "texts": list(sizes),
        "passages_per_shard": rows,
        "ways": {name: _row(seconds, name, sizes) for name in names},
    }


def _row(
    seconds: dict[str, dict[int, list[float]]], name: str, sizes: tuple[int, int]
) -> dict[str, Any]:
    small, large = sizes

    def slopes(name: str) -> list[float]:
        pairs = zip(seconds[name][small], seconds[name][large], strict=True)
        return [(more - less) / (large - small) for less, more in pairs]

    own = slopes(name)
    starts = [t - slope * small for t, slope in zip(seconds[name][small], own, strict=True)]
    marginal = [mine / base - 1 for mine, base in zip(own, slopes("plain"), strict=True)]
    whole = [
        mine / base - 1
        for mine, base in zip(seconds[name][large], seconds["plain"][large], strict=True)
    ]
    return {
        "seconds": {str(size): seconds[name][size] for size in sizes},
        "passages_per_second": 1 / median(own),
        "start_seconds": median(starts),
        "overhead_per_passage": {"median": median(marginal), "rounds": marginal},
        "overhead_with_start": {"median": median(whole), "rounds": whole},
    }


def options() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = command_line(__doc__, "sharding.json")
    parser.add_argument("--passages", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--texts", type=int, default=15_000)
    parser.add_argument("--few", type=int, default=5000, help="the smaller of the two sizes")
    parser.add_argument("--rows", type=int, default=2500, help="per shard, of the overhead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=Path, default=DATA)
    parser.add_argument("--only", choices=["kills", "overhead"], action="append")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write the JSON; parts measured before stay in it."""
    asked = options()
    if asked.one:
        name, source, folder = asked.one
        ways(asked.rows)[name](Path(source), Path(folder))
        return
    record = read_json(asked.json) if asked.json.is_file() else {}
    dataset = open_dataset(asked.corpus)
    texts = [passage.content for passage in dataset.passages()]
    source = {"name": dataset.name, "checksum": dataset.checksum()}
    for part in asked.only or ["kills", "overhead"]:
        with TemporaryDirectory() as temporary:
            here, about = Path(temporary), describe(threads=CORES)
            if part == "kills":
                found = measure_kills(texts, here, passages=asked.passages, kills=asked.kills)
            else:
                sizes = (asked.few, asked.texts)
                found = measure_overhead(
                    texts, here, sizes=sizes, rows=asked.rows, rounds=asked.rounds
                )
                about["fingerprint"] = Encoder.load().fingerprint
        record[part] = {**about, "dataset": source, **found}
        write_json(asked.json, record)
        say(str({name: value for name, value in found.items() if name != "killed_after_seconds"}))


if __name__ == "__main__":
    main()
