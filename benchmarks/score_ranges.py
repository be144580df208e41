"""What a score means: how high it is for texts that belong together and for texts that do not.

    python benchmarks/score_ranges.py --json results/score-ranges.json

For the table in README.md. Cosines of questions of the same meaning and of others (cmedqq-dev),
of questions with their answer and with a random passage (consult-dev, huatuo-dev), and the
threshold that separates the pairs of questions best.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench import SHARED, command, command_line
from corom import Encoder, open_dataset, score_pairs
from corom.evaluation import best_threshold
from corom.files import sha256, write_json
from corom.readers import Dataset, read_pairs

POINTS = (5, 25, 50, 75, 95)
QUERIES = 500


def summary(scores: np.ndarray) -> dict[str, float]:
    """Return percentiles and the number of scores."""
    found = np.percentile(scores, POINTS)
    shown = {
        f"p{point}": round(float(value), 3) for point, value in zip(POINTS, found, strict=True)
    }
    return {"n": len(scores), **shown}


def of_questions(encoder: Encoder, path: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the scores of pairs by whether they mean the same, and what parts them best."""
    pairs = list(read_pairs(path))
    same = np.array([bool(pair.label) for pair in pairs])
    left, right = (encoder.encode_passages([pair[side] for pair in pairs]) for side in (0, 1))
    scores = score_pairs(left, right, score="cosine")
    best = best_threshold(scores, same)
    ranges = {"same question": summary(scores[same]), "other question": summary(scores[~same])}
    return ranges, {"threshold": round(best.score, 3), "accuracy": round(best.accuracy, 4)}


def of_answers(
    encoder: Encoder, dataset: Dataset, split: str, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the scores of questions with their answer and with a random other."""
    queries = {query.id: query.text for query in list(dataset.queries(split))[:QUERIES]}
    positive = {q.passage_id: q.query_id for q in dataset.qrels(split) if q.query_id in queries}
    answers = {queries[positive[p.id]]: p.content for p in dataset.passages() if p.id in positive}
    asked = encoder.encode_queries(answers)
    given = encoder.encode_passages(answers.values())
    shifted = given[(np.arange(len(given)) + rng.integers(1, len(given))) % len(given)]
    return {
        f"{split}: its answer": summary(score_pairs(asked, given, score="cosine")),
        f"{split}: another's": summary(score_pairs(asked, shifted, score="cosine")),
    }


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__)
    parser.add_argument("--model", default="corom-medical")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "eval")
    options = parser.parse_args()
    encoder, rng = Encoder.load(options.model), np.random.default_rng(0)
    pairs = options.data / "question-pairs" / "cmedqq-dev.tsv"
    dataset = open_dataset(options.data / "open-medical")
    ranges, best = of_questions(encoder, pairs)
    for split in ("consult-dev", "huatuo-dev"):
        ranges |= of_answers(encoder, dataset, split, rng)
    result = {
        "command": command(),
        "model": encoder.name,
        "fingerprint": encoder.fingerprint,
        "precision": encoder.precision,
        "data": {pairs.name: sha256(pairs), dataset.name: dataset.checksum()},
        "cosine": ranges,
        "same question": best,
    }
    for name, row in ranges.items():
        print(f"{name:28}" + "  ".join(f"{key} {value}" for key, value in row.items()))
    print("same question:", best)
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
