r"""What the labels miss: readers judge what the models rank highest, the labels unseen.

    corom evaluate ../shared/data/eval/open-medical --split consult-dev --split huatuo-dev \
        --precision int8 --normalize --depth 100 --measure MRR@10 --runs runs/audit \
        --model ../shared/models/bge-small-zh-v1.5 --model corom-medical
    python benchmarks/label_audit.py pool --runs runs/audit --out runs/audit/pool
    python benchmarks/label_audit.py report --runs runs/audit --out results/label-audit.json

open-medical labels one passage a query: the answer that was given to it. `pool` draws queries and
writes, without saying where a passage comes from, those that any model ranks among the first ten
and the labelled one, in an order of chance, in files to be read. A reader writes a line a passage,
`query<TAB>passage<TAB>grade<TAB>guess`: the grade from 0 to 3 (`GRADES`), and 1 to 5 for the five
passages most likely to be the answer given to this very query, 0 for all others. Two readers read
every file. Their lines are kept, ids and no text, in results/label-audit/.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import DATA, ROOT, command
from corom import open_dataset
from corom.files import write_json
from corom.ranking import rank_hits
from corom.runs import read_trec_run
from corom.significance import bootstrap_interval

JUDGED = ROOT / "results" / "label-audit"
SPLITS = ("consult-dev", "huatuo-dev")
DEPTH = 10
QUERIES = 100  # of each split
A_FILE = 25
SEED = 20261126
READERS = ("a", "b")
GRADES = {
    3: "answers what is asked, and nothing in it is beside the particulars of the question",
    2: "answers what is asked in part, or for a slightly different case",
    1: "the same disease or topic, but not an answer to this question",
    0: "another topic",
}


class Judgement(NamedTuple):
    """What one reader says of one passage."""

    grade: int
    guess: int


Judgements = dict[tuple[str, str], Judgement]  # by query and passage


def pools(split: str, runs: dict[str, dict[str, list[str]]], data: Path) -> dict[str, list[str]]:
    """Return the passages to read for every query drawn, shuffled."""
    labelled = {qrel.query_id: qrel.passage_id for qrel in open_dataset(data).qrels(split)}
    rng = random.Random(f"{SEED} {split}")  # noqa: S311 - a sample, not a secret
    drawn = sorted(rng.sample(sorted(labelled), QUERIES), key=int)
    found = {}
    for query in drawn:
        pool = {labelled[query]}.union(*(run[query][:DEPTH] for run in runs.values()))
        found[query] = rng.sample(sorted(pool), len(pool))
    return found


def read_runs(folder: Path, split: str) -> dict[str, dict[str, list[str]]]:
    """Return the ranked passages of every query by every model."""
    return {
        path.name.removeprefix(f"{split}.").removesuffix(".run"): {
            query: [hit.id for hit in rank_hits(hits)]
            for query, hits in read_trec_run(path).items()
        }
        for path in sorted(folder.glob(f"{split}.*.run"))
    }


def write_pool(asked: argparse.Namespace) -> None:
    """Write the files to be read: a query, its passages, ids before each."""
    dataset = open_dataset(asked.data)
    texts = {passage.id: passage.text for passage in dataset.passages()}
    asked.out.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        queries = {query.id: query.text for query in dataset.queries(split)}
        drawn = list(pools(split, read_runs(asked.runs, split), asked.data).items())
        for start in range(0, QUERIES, A_FILE):
            lines = []
            for query, pool in drawn[start : start + A_FILE]:
                lines += [f"## query {query}: {queries[query]}"]
                lines += [f"[{passage}] {texts[passage]}" for passage in pool]
            path = asked.out / f"{split}-{start // A_FILE + 1}.txt"
            path.write_text("\n".join(lines) + "\n", encoding="utf8")
            print(path, sum(line.startswith("[") for line in lines), "passages")


def read_judgements(reader: str, split: str, *, folder: Path = JUDGED) -> Judgements:
    """Return what a reader wrote; a passage twice, or a grade that is none, is refused."""
    found: Judgements = {}
    for path in sorted(folder.glob(f"{split}-*.{reader}.tsv")):
        for number, line in enumerate(path.read_text(encoding="utf8").splitlines(), 1):
            query, passage, grade, guess = line.split("\t")
            judged = Judgement(int(grade), int(guess))
            if (
                (query, passage) in found
                or judged.grade not in GRADES
                or not 0 <= judged.guess <= 5
            ):
                raise SystemExit(f"{path}:{number}: {line!r} is wrong or there twice")
            found[query, passage] = judged
    return found


def expected_reciprocal_rank(ahead: int, alike: int) -> float:
    """Return the mean of 1 / rank (0 past ten) of one of `alike` passages in any order."""
    return sum(1 / rank for rank in range(ahead + 1, ahead + alike + 1) if rank <= DEPTH) / alike


def first_rank(ranked: Iterable[str], wanted: Callable[[str], bool]) -> float:
    """Return 1 / rank of the first wanted passage, 0 if none of ten is."""
    return next((1 / n for n, each in enumerate(ranked, 1) if n <= DEPTH and wanted(each)), 0.0)


def require_all(judged: Judgements, drawn: dict[str, list[str]], told: str) -> None:
    """End, with what was `told`, unless just the passages that were drawn are judged."""
    missing = [
        (query, each)
        for query, pool in drawn.items()
        for each in pool
        if (query, each) not in judged
    ]
    if missing or len(judged) != sum(map(len, drawn.values())):
        raise SystemExit(f"{told}: {len(missing)} not judged, first {missing[:3]}")


def audit(split: str, reader: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a split by one reader; ends if a passage was not judged."""
    judged = read_judgements(reader, split)
    labelled = {qrel.query_id: qrel.passage_id for qrel in open_dataset(asked.data).qrels(split)}
    runs = read_runs(asked.runs, split)
    drawn = pools(split, runs, asked.data)
    require_all(judged, drawn, f"{split}, reader {reader}")
    values: dict[str, list[float]] = defaultdict(list)
    for query, pool in drawn.items():
        label = labelled[query]
        grades = {each: judged[query, each].grade for each in pool}
        ahead = sum(grade > grades[label] for grade in grades.values())
        alike = sum(grade == grades[label] for grade in grades.values())
        values["labelled passage graded 2 or 3"].append(grades[label] >= 2)
        values["labelled passage graded 3"].append(grades[label] == 3)
        values["others graded as high as the labelled one"].append(ahead + alike - 1)
        values["MRR@10 in the order of the grades"].append(expected_reciprocal_rank(ahead, alike))
        guess = judged[query, label].guess
        values["MRR@5 of the reader's guesses"].append(1 / guess if guess else 0.0)
        for model, run in runs.items():
            ranked = run[query][:DEPTH]
            above = ranked[: ranked.index(label)] if label in ranked else ranked
            values[f"{model}: above the labelled one, as high"].extend(
                grades[each] >= grades[label] for each in above
            )
            values[f"{model}: MRR@10 by the labels"].append(
                first_rank(ranked, lambda each, label=label: each == label)
            )
            for least in (2, 3):
                values[f"{model}: MRR@10, graded {least} or more"].append(
                    first_rank(ranked, lambda each, g=grades, least=least: g[each] >= least)
                )
                values[f"{model}: of the first ten, graded {least} or more"].append(
                    sum(grades[each] >= least for each in ranked) / DEPTH
                )
    return {name: mean(found) for name, found in values.items()}


def mean(values: list[float]) -> dict[str, Any]:
    """Return the mean with its 95 % interval, and of how many."""
    low, high = bootstrap_interval(np.array(values, np.float64))
    return {
        "mean": round(float(np.mean(values)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "n": len(values),
    }


def agreement(split: str) -> dict[str, float]:
    """Return how often both readers say the same, and Cohen's kappa of "graded 2 or more"."""
    one, other = (read_judgements(reader, split) for reader in READERS)
    both = np.array([(one[key].grade, other[key].grade) for key in one])
    good = both >= 2
    seen = (good[:, 0] == good[:, 1]).mean()
    chance = sum(
        np.prod([(good[:, side] == value).mean() for side in (0, 1)]) for value in (True, False)
    )
    return {
        "passages": len(both),
        "same grade": round(float((both[:, 0] == both[:, 1]).mean()), 4),
        "kappa, graded 2 or more": round(float((seen - chance) / (1 - chance)), 4),
    }


def report(asked: argparse.Namespace) -> None:
    """Write and print the figures of both splits by both readers."""
    found = {
        split: {
            "agreement": agreement(split),
            "readers": {reader: audit(split, reader, asked) for reader in READERS},
        }
        for split in SPLITS
    }
    about = {"command": command(), "queries": QUERIES, "depth": DEPTH, "grades": GRADES}
    write_json(asked.out, {**about, "splits": found})
    for split, figures in found.items():
        print(f"\n## {split} {figures['agreement']}")
        for name in figures["readers"]["a"]:
            print(f"{name:70}", *(figures["readers"][reader][name]["mean"] for reader in READERS))


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("pool", "report"))
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    (write_pool if asked.what == "pool" else report)(asked)


if __name__ == "__main__":
    main()
