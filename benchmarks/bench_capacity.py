"""What `corom plan` says of a million passages, beside what a million passages take.

    python benchmarks/bench_capacity.py --calibrate     # makes src/corom/bundled/capacity.json
    python benchmarks/bench_capacity.py --servers       # adds what results/stores*.json say
    python benchmarks/bench_capacity.py                 # compares at --passages 1000000
    python benchmarks/bench_capacity.py --encoding      # the same of encoding in shards
    python benchmarks/bench_capacity.py --of-servers results/stores-larger.json

Each layout of an index folder is built and searched by one process of its own, as `corom index`
and `corom search` do: seeded clustered vectors of `--dim` numbers, the texts of `--corpus` over and
over, 1,000 queries for their best 10. `--calibrate` does that at two smaller sizes, both beyond
the processor's caches, and takes the speed of encoding from `--encode`; nothing of what is
compared later goes into it. `--encoding` encodes beginnings of the texts, since whole ones take
most of an hour on two cores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import CORES, DATA, ROOT, command_line, describe, say
from capacity_layouts import LAYOUTS, mean_bytes, measure
from corom import Encoder, capacity
from corom.encoder import Progress
from corom.files import read_json, write_json
from corom.readers import open_dataset
from corom.sharding import encode_shards
from corom.sharding.encoding import spec_of

BUNDLED = ROOT / "src/corom/bundled/capacity.json"
_BEGINNING = 24
"""Characters of a passage that are encoded."""


def encoding(path: Path) -> dict[str, Any]:
    """Return what bench_encode.py's record says of the embedded model over whole passages."""
    record = read_json(path)
    seconds = [each["timings"]["corom-medical"]["passages"] for each in record["rounds"]]
    texts, cores = record["settings"]["passages"], record["settings"]["threads"]
    return {
        "texts_per_second_per_core": texts / median(seconds) / cores,
        "tokens_per_text": record["tokens"]["passages"] / texts,
        "source": f"results/{path.name}",
    }


def measure_encoding(texts: list[str], *, size: int, dim: int) -> dict[str, Any]:
    """Return what encoding the first characters of so many passages took, planned beside."""
    last = Progress(0, 0, 0)

    def note(now: Progress, _: int) -> None:
        nonlocal last
        last = now

    with TemporaryDirectory() as temporary:
        source = Path(temporary) / "corpus.tsv"
        with source.open("w", encoding="utf-8") as file:
            rows = (f"{n}\t{texts[n % len(texts)][:_BEGINNING]}\n" for n in range(size))
            file.writelines(rows)
        encoder = Encoder.load(threads=1)
        spec = spec_of(encoder, model=encoder.name, truncate_dim=dim)
        begun, cores = time.perf_counter(), CORES
        out = Path(temporary) / "vectors"
        encode_shards(str(source), out, spec=spec, workers=cores, progress=note)
        seconds = time.perf_counter() - begun
    tokens = last.tokens / last.done
    planned = capacity.plan(size, dim=dim, tokens=tokens, cores=cores).encode_hours * 3600
    return {
        "passages": last.done,
        "tokens_per_text": tokens,
        "seconds": seconds,
        "planned_seconds": planned,
        "off": planned / seconds - 1,
    }


def of_servers(paths: list[Path], *, text_bytes: float) -> list[dict[str, Any]]:
    """Return what bench_stores.py measured of servers, as `capacity.Measured` has it."""
    rows = []
    for record in map(read_json, paths):
        for row in record["rows"]:
            server, _, kind = row["engine"].rpartition(" ")
            name = f"{server.partition(' ')[0]} {kind}"
            if name not in capacity.LAYOUTS or "Lite" in server:
                continue
            rows.append(
                {
                    "layout": name,
                    "passages": row["passages"],
                    "dim": record["dim"],
                    "text_bytes": text_bytes,
                    "disk_bytes": row["disk_mb"] * 2**20,
                    "memory_bytes": _memory_of_server(name, row) * 2**20,
                    "build_seconds": row["build_seconds"],
                    "queries_per_second": row["queries_per_second"],
                }
            )
    return rows


def _memory_of_server(layout: str, row: dict[str, Any]) -> float:
    """Return MB; PostgreSQL reads through the system's cache, which belongs to no process."""
    if layout.startswith("pgvector"):
        return float(row["memory_empty_mb"] + row["disk_mb"])
    return float(row["memory_mb"])


def compare(rows: list[dict[str, Any]], *, dim: int) -> list[dict[str, Any]]:
    """Return measured rows with what `corom plan` says of each, and by what share that is off."""
    found = []
    for row in rows:
        planned = {
            estimate.layout: estimate
            for precision in ("float32", "float16", "int8", "binary")
            for estimate in capacity.plan(row["passages"], dim=dim, precision=precision).layouts
        }[row["layout"]]
        predicted = {
            "memory_bytes": planned.memory_bytes,
            "disk_bytes": planned.disk_bytes,
            "build_seconds": planned.build_hours * 3600,
            "queries_per_second": planned.queries_per_second,
        }
        off = {name: value / row[name] - 1 for name, value in predicted.items()}
        found.append({"layout": row["layout"], "measured": row, "predicted": predicted, "off": off})
    return found


def say_off(rows: list[dict[str, Any]]) -> None:
    """Print by what share the plan was off."""
    for row in rows:
        off = ", ".join(f"{name} {value:+.0%}" for name, value in row["off"].items())
        print(f"{row['layout']}: {off}")


def options() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = command_line(__doc__)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--servers", action="store_true")
    parser.add_argument("--encoding", action="store_true")
    parser.add_argument("--small", type=int, nargs=2, default=[200_000, 500_000])
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--of-servers", type=Path, help="a run of bench_stores.py --repeat")
    parser.add_argument("--again", action="store_true", help="plan again, measure nothing")
    parser.add_argument("--encode", type=Path, default=ROOT / "results/encode-zen5.json")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--only", action="append", choices=list(LAYOUTS))
    parser.add_argument("--corpus", type=Path, default=DATA)
    sizes = ("stores.json", "stores-smaller.json", "stores-million.json")
    stores = [ROOT / "results" / name for name in sizes]
    parser.add_argument("--stores", type=Path, nargs="+", default=stores)
    return parser.parse_args()


def calibrate(asked: argparse.Namespace, texts: list[str]) -> None:
    """Measure the layouts at two sizes, for the figures that the package carries."""
    record, names = describe(), asked.only or list(LAYOUTS)
    record["encode"] = encoding(asked.encode)
    known = read_json(BUNDLED)["runs"]
    record["runs"] = [row for row in known if row["layout"] not in names]
    for size in asked.small:
        record["runs"] += measure(names, texts, size=size, dim=asked.dim)
    write_json(asked.json or BUNDLED, record)


def add_servers(asked: argparse.Namespace, texts: list[str]) -> None:
    """Put what bench_stores.py measured into the figures that the package carries."""
    known = read_json(BUNDLED)
    own = [row for row in known["runs"] if row["layout"] in LAYOUTS]
    runs = own + of_servers(asked.stores, text_bytes=mean_bytes(texts))
    write_json(BUNDLED, {**known, "runs": runs})


def held_against_the_plan(
    asked: argparse.Namespace, texts: list[str], before: dict[str, Any]
) -> dict[str, Any]:
    """Return the record with the part that was asked for anew."""
    record, names = describe(), asked.only or list(LAYOUTS)
    if asked.encoding:
        found = measure_encoding(texts, size=asked.passages, dim=asked.dim)
        say(str(found))
        return {**before, "encoding": {**record, **found}}
    if asked.of_servers:
        measured = of_servers([asked.of_servers], text_bytes=mean_bytes(texts))
        rows = compare(measured, dim=measured[0]["dim"])
        say_off(rows)
        return {**before, "servers": {"source": f"results/{asked.of_servers.name}", "rows": rows}}
    if asked.again:
        known = [row["measured"] for row in before["rows"]]
        return {**before, "rows": compare(known, dim=asked.dim)}
    measured = measure(names, texts, size=asked.passages, dim=asked.dim)
    others = [row for row in before["rows"] if row["layout"] not in names]
    rows = others + compare(measured, dim=asked.dim)
    say_off(rows)
    return {**before, **record, "rows": rows}


def main() -> None:
    """Measure, print, write the JSON."""
    asked = options()
    texts = [passage.content for passage in open_dataset(asked.corpus).passages()]
    if asked.calibrate:
        calibrate(asked, texts)
    elif asked.servers:
        add_servers(asked, texts)
    else:
        path = asked.json or ROOT / "results/capacity.json"
        before = read_json(path) if path.is_file() else {"rows": []}
        write_json(path, held_against_the_plan(asked, texts, before))


if __name__ == "__main__":
    main()
