"""How much memory `corom index` takes for a million passages, and whether that grows with them.

    python benchmarks/index_memory.py --passages 100000 --passages 1000000

The passages are synthetic, a short sentence each; the vectors come from a random BERT of one layer
and `--dim` numbers, so that indexing and not encoding is what takes the time. Each size is
indexed by the command line in a process of its own, once by vectors and once by words (BM25).
What a process holds is read from /proc twenty times a second: its own memory (RssAnon), what it has
mapped from files (RssFile: the system takes that back when it needs it), and the peak of both.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import command_line, describe
from corom.files import write_json
from corom.index import open_index
from processes import held_mb
from random_models import write_small_model

_DISEASES = ("糖尿病", "高血压", "胃炎", "肺炎", "偏头痛", "冠心病", "湿疹", "失眠", "贫血", "痛风")
_ASKED = ("怎么治疗", "吃什么药", "有什么症状", "能不能手术", "饮食注意什么", "会不会遗传")


def write_corpus(path: Path, passages: int) -> None:
    """Write passages, a sentence each, as id, tab, text."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(passages):
            file.write(f"{n}\t第{n}位患者的{_DISEASES[n % 10]}{_ASKED[n % 6]}？\n")


def measured(command: list[Any]) -> dict[str, float]:
    """Run a command; return seconds, and the most MB it held, by kind."""
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    most = {"RssAnon": 0.0, "RssFile": 0.0, "VmHWM": 0.0}
    while process.poll() is None:
        held = held_mb(process.pid)
        most = {name: max(value, held.get(name, 0)) for name, value in most.items()}
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    names = {"RssAnon": "own_mb", "RssFile": "mapped_mb", "VmHWM": "peak_mb"}
    found = {names[name]: round(value, 1) for name, value in most.items()}
    return {**found, "seconds": round(time.perf_counter() - started, 1)}


def one_row(corpus: Path, model: Path | str, folder: Path, *, passages: int) -> dict[str, Any]:
    """Index a corpus and return what that took."""
    command = [sys.executable, "-m", "corom", "index", corpus, "--to", folder, "--model", model]
    found = measured(command if model == "bm25" else [*command, "--precision", "bf16"])
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    vectors = sum(size for path, size in sizes.items() if path.name.startswith("vectors"))
    return {
        "passages": passages,
        "model": "bm25" if model == "bm25" else "vectors",
        "indexed": len(open_index(folder, deep=False)),
        **found,
        "disk_mb": round(sum(sizes.values()) / 2**20, 1),
        "vectors_mb": round(vectors / 2**20, 1),
        "files": len(sizes),
    }


def main() -> None:
    """Measure, print, write the JSON."""
    parser = command_line(__doc__, "index-memory.json")
    parser.add_argument("--passages", type=int, action="append")
    parser.add_argument("--dim", type=int, default=256)
    options = parser.parse_args()
    sizes = options.passages or [100_000, 1_000_000]
    record = describe()
    record["rows"] = []
    for size in sizes:
        with TemporaryDirectory() as temporary:
            here = Path(temporary)
            write_corpus(here / "corpus.tsv", size)
            write_small_model(here / "model", dim=options.dim)
            for model in (here / "model", "bm25"):
                folder = here / f"index-{Path(model).name}"
                row = one_row(here / "corpus.tsv", model, folder, passages=size)
                record["rows"].append({**row, "dim": 0 if model == "bm25" else options.dim})
                print(record["rows"][-1], flush=True)
    write_json(options.json, record)


if __name__ == "__main__":
    main()
