"""Run the commands behind results/regressions.json again and compare the figures.

    python benchmarks/reproduce.py                  # or: make reproduce
    python benchmarks/reproduce.py --only NAME
    python benchmarks/reproduce.py --record         # write what is found instead of comparing

An entry whose data set does not lie in `--data` is skipped, and told. Everything is computed anew,
in a folder that is removed afterwards; with `--work` vectors are kept there and used again. The
exit code is 1 if a figure is off by more than its tolerance, or the data or the model is another.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from corom.files import read_json, write_json  # noqa: E402

Entry = dict[str, Any]


def run(entry: Entry, data: Path, work: Path) -> Entry:
    """Return the JSON report of the entry's command."""
    out = work / "report.json"
    program, *arguments = shlex.split(entry["command"].format(data=data))
    if program != "corom":
        sys.exit(f"{entry['name']}: the command must start with corom")
    command = [sys.executable, "-m", "corom", *arguments, "--work", work, "--json", out]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return read_json(out)


def facts(report: Entry) -> tuple[Entry, Entry, Entry]:
    """Return what an entry holds of a report: data set, model, figures by split."""
    first = report["results"][0]
    model = {"name": first["model"]}
    if "fingerprint" in first["settings"]:
        model["fingerprint"] = first["settings"]["fingerprint"]
    dataset = {name: report["dataset"][name] for name in ("name", "checksum")}
    return dataset, model, {each["split"]: each["metrics"] for each in report["results"]}


def compare(entry: Entry, report: Entry) -> list[str]:
    """Print every figure and return what is not as it should be."""
    dataset, model, found = facts(report)
    wrong = [
        f"{entry['name']}: {what} is {now}, the figures are of {entry[what]}"
        for what, now in (("dataset", dataset), ("model", model))
        if now != entry[what]
    ]
    for split, measures in entry["expected"].items():
        for measure, expected in measures.items():
            value = found.get(split, {}).get(measure, float("nan"))
            good = abs(value - expected) <= entry["tolerance"]
            verdict = "" if good else f"  off by more than {entry['tolerance']}"
            print(
                f"{entry['name']:28} {split:16} {measure:12} {expected:.6f} {value:.6f}{verdict}",
                flush=True,
            )
            if not good:
                wrong.append(f"{entry['name']}: {split} {measure} is {value}, expected {expected}")
    return wrong


def reproduce(entries: list[Entry], data: Path, *, work: Path | None, record: bool) -> list[str]:
    """Run the entries whose data is there, and return what is wrong."""
    wrong: list[str] = []
    for entry in entries:
        folder = data / entry["dataset"]["name"]
        if not folder.exists():
            print(f"{entry['name']:28} skipped: there is no {folder}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            report = run(entry, data, work or Path(temporary))
        if record:
            entry["dataset"], entry["model"], entry["expected"] = facts(report)
        wrong += compare(entry, report)
    return wrong


def main() -> None:
    """Compare, or record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval")
    parser.add_argument("--file", type=Path, default=ROOT / "results" / "regressions.json")
    parser.add_argument("--only", metavar="NAME", action="append")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    content = read_json(options.file)
    entries = [e for e in content["regressions"] if not options.only or e["name"] in options.only]
    if not entries:
        sys.exit(f"no entry is called {options.only}")
    wrong = reproduce(entries, options.data, work=options.work, record=options.record)
    if options.record:
        write_json(options.file, content)
    print("\n".join(wrong) or "every figure is as it was", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
