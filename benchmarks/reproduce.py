"""Run the commands behind results/regressions.json again and compare the figures.

    python benchmarks/reproduce.py                  # or: make reproduce
    python benchmarks/reproduce.py --only NAME
    python benchmarks/reproduce.py --record         # write what is found instead of comparing

An entry whose data set does not lie in `--data` is skipped, and told. Everything is computed anew,
in a folder that is removed afterwards; with `--work` vectors are kept there and used again. The
exit code is 1 if a figure is off by more than its tolerance, or the data or a model is another.

`--record` also measures the run files that corom wrote with ir_measures alone, refuses figures
that differ by more than 1e-9, and draws recall against k beside the file. Afterwards
`python docs/make_results.py` puts the figures into the READMEs.
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

from corom.evaluation import pair_files, run_name  # noqa: E402
from corom.files import read_json, write_json  # noqa: E402
from corom.readers import open_dataset  # noqa: E402

Entry = dict[str, Any]
SAME = 1e-9
"""how far ir_measures may be from a figure of ours, on the same ranking"""
RECORDED = "python benchmarks/reproduce.py --record"
_THEIRS = {"MRR": "RR", "Recall": "R", "MAP": "AP", "nDCG": "nDCG"}


def run(entry: Entry, data: Path, work: Path, *, extra: list[str | Path]) -> Entry:
    """Return the JSON report of the entry's command, run with some flags more."""
    out = work / "report.json"
    program, *arguments = shlex.split(entry["command"].format(data=data))
    if program != "corom":
        sys.exit(f"{entry['name']}: the command must start with corom")
    command = [sys.executable, "-m", "corom", *arguments, "--work", work, "--json", out, *extra]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return read_json(out)


def facts(report: Entry) -> Entry:
    """Return what an entry holds of a report: the data set, the models, the figures."""
    models = {}
    for each in report["results"]:
        models[each["model"]] = each["settings"].get("fingerprint", "")
    results = []
    for each in report["results"]:
        found = {name: each[name] for name in ("split", "model")}
        results.append({**found, "expected": each["metrics"], **_doubts(each)})
    dataset = {name: report["dataset"][name] for name in ("name", "checksum")}
    return {"dataset": dataset, "models": models, "results": results}


def _doubts(result: Entry) -> Entry:
    """Return the intervals of a result, and how surely it differs from the first model's."""
    found = {"intervals": result["intervals"]} if "intervals" in result else {}
    if "versus" in result:
        found["p_values"] = {name: test["p_value"] for name, test in result["versus"].items()}
    return found


def compare(entry: Entry, found: Entry) -> list[str]:
    """Print every figure and return what is not as it should be."""
    name = entry["name"]
    wrong = [
        f"{name}: {what} is {found[what]}, the figures are of {entry[what]}"
        for what in ("dataset", "models")
        if found[what] != entry[what]
    ]
    measured = {(each["split"], each["model"]): each["expected"] for each in found["results"]}
    for row in entry["results"]:
        split, model = row["split"], row["model"]
        tolerance = entry["tolerance"][model]
        for measure, expected in row["expected"].items():
            value = measured.get((split, model), {}).get(measure, float("nan"))
            good = abs(value - expected) <= tolerance
            verdict = "" if good else f"  off by more than {tolerance}"
            print(
                f"{name:16} {split:15} {model:15} {measure:12} {expected:.6f} {value:.6f}{verdict}",
                flush=True,
            )
            if not good:
                wrong.append(f"{name}: {split} {model} {measure} is {value}, expected {expected}")
    return wrong


def require_same(found: Entry, runs: Path, data: Path) -> float:
    """Return how far ir_measures, on the run files alone, is from the figures; end if too far."""
    import ir_measures

    dataset, most = open_dataset(data), 0.0
    for row in found["results"]:
        theirs = {}
        for name in row["expected"]:
            measure, at, k = name.partition("@")
            theirs[ir_measures.parse_measure(_THEIRS[measure] + at + k)] = name
        qrels = [
            ir_measures.Qrel(q.query_id, q.passage_id, q.grade) for q in dataset.qrels(row["split"])
        ]
        file = runs / run_name(row["split"], row["model"])
        ranking = ir_measures.read_trec_run(str(file))
        for measure, value in ir_measures.calc_aggregate(list(theirs), qrels, ranking).items():
            most = max(most, abs(value - row["expected"][theirs[measure]]))
    if most > SAME:
        sys.exit(f"{data.name}: ir_measures finds figures that differ by {most}")
    return most


def reproduce(
    entries: list[Entry], data: Path, *, work: Path | None, plots: Path | None
) -> list[str]:
    """Run the entries whose data is there, and return what is wrong; with `plots`, record."""
    wrong: list[str] = []
    for entry in entries:
        name, folder = entry["name"], data / entry["dataset"]["name"]
        if not folder.exists():
            print(f"{name:16} skipped: there is no {folder}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            runs, extra = Path(temporary) / "runs", []
            ranked = plots is not None and not pair_files(folder)
            if ranked:
                extra = ["--runs", runs, "--plot", plots / f"recall-{name}.svg"]
            found = facts(run(entry, data, work or Path(temporary), extra=extra))
            if plots is not None:
                entry.update(found)
            if ranked:
                entry["ir_measures_differs_by"] = require_same(found, runs, folder)
        wrong += compare(entry, found)
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
    plots = options.file.parent if options.record else None
    wrong = reproduce(entries, options.data, work=options.work, plots=plots)
    if options.record:
        write_json(options.file, {"command": RECORDED, **content})
    print("\n".join(wrong) or "every figure is as it was", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
