"""The options of the encode benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path

from encode_backends import REFERENCE, backend

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def parse(description: str) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--minutes", type=float, default=60, help="no round begins later than this")
    add("--passages", type=int, default=192)
    add("--queries", type=int, default=384)
    add("--layers", type=int, default=12)
    add("--cold", type=int, default=3, help="cold starts of each back end")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--backends", nargs="+", metavar="NAME", help="only these (and the reference)")
    add("--quick", action="store_true", help="2 rounds, 32 passages, 64 queries, 1 cold start")
    add("--data", type=Path, default=SHARED / "data/eval/open-medical", help="a data set folder")
    add("--base", type=Path, default=SHARED / "models/bge-small-zh-v1.5", help="4-layer weights")
    add("--work", type=Path, default=ROOT / ".bench", help="models and forms are kept here")
    add("--out", type=Path, help="default: results/encode.json, with --quick in --work")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.passages, options.queries, options.cold = 2, 32, 64, 1
    for name in options.backends or []:
        backend(name)
    if options.backends and REFERENCE not in options.backends:
        options.backends.append(REFERENCE)
    options.work = options.work.resolve()
    kept = options.work / "encode-quick.json" if options.quick else ROOT / "results/encode.json"
    options.out = options.out or kept
    return options
