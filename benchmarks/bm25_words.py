"""Why our BM25 finds more than the figures it was given for orientation: what counts as a word.

    python benchmarks/bm25_words.py          (in an environment with corom, ir_measures and bm25s)

The orientation, of an earlier experiment: words by jieba's search mode, k1 1.2, b 0.75. The same
ways to cut, here by rjieba, are measured with bm25s (Lucene's formula), and so is corom's index. If
bm25s with our words finds what corom finds, the formula is not the reason; which cut it is that
gives the earlier figures, the table shows. See docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import bm25s
import rjieba

from bench import DATA, command_line, describe, say
from corom.evaluation import Lexical
from corom.files import write_json
from corom.metrics import evaluate_run
from corom.readers import Dataset, open_dataset
from corom.records import Hit, Run
from corom.words import folded, segment

MEASURES = ("MRR@10", "Recall@1000")
DEPTH = 1000
ORIENTATION = {
    "consult-dev": {"MRR@10": 0.0746, "Recall@1000": 0.632},
    "huatuo-dev": {"MRR@10": 0.1658, "Recall@1000": 0.532},
}
Cut: TypeAlias = Callable[[str], list[str]]


def everything(text: str) -> list[str]:
    """Return what rjieba cuts, every mark a word; only white space is left out."""
    return [word for word in rjieba.cut_for_search(text) if word.strip()]


def without_unknown(text: str) -> list[str]:
    """Return our words, cut without the model for words that are not in the dictionary."""
    found = rjieba.cut_for_search(folded(text), False)
    return [word for word in found if any(map(str.isalnum, word))]


def longer(text: str) -> list[str]:
    """Return our words of two characters and more."""
    return [word for word in segment(text) if len(word) > 1]


CUTS: dict[str, Cut] = {
    "as corom cuts": segment,
    "folded, marks are words": lambda text: everything(folded(text)),
    "not folded, marks are words": everything,
    "as corom cuts, without unknown words": without_unknown,
    "as corom cuts, single characters left out": longer,
}


def of_bm25s(dataset: Dataset, cut: Cut) -> dict[str, Run]:
    """Return a run for each split by bm25s, with words by `cut`."""
    passages = list(dataset.passages())
    ids = [passage.id for passage in passages]
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([cut(passage.content) for passage in passages], show_progress=False)
    runs = {}
    for split in dataset.splits:
        queries = list(dataset.queries(split))
        found = index.retrieve(
            [cut(query.text) for query in queries],
            k=min(DEPTH, len(ids)),
            show_progress=False,
        )
        rows = zip(found.documents.tolist(), found.scores.tolist(), strict=True)
        hits = [  # bm25s fills up with passages that share no word and score 0
            [Hit(ids[place], score) for place, score in zip(*row, strict=True) if score > 0]
            for row in rows
        ]
        runs[split] = dict(zip((query.id for query in queries), hits, strict=True))
    return runs


def of_corom(dataset: Dataset) -> dict[str, Run]:
    """Return a run for each split by corom."""
    index = Lexical().index(dataset.passages())
    runs = {}
    for split in dataset.splits:
        queries = list(dataset.queries(split))
        hits = index.search(queries, DEPTH)
        runs[split] = dict(zip((query.id for query in queries), hits, strict=True))
    return runs


def figures(dataset: Dataset, runs: dict[str, Run]) -> dict[str, Any]:
    """Return the measures of each split."""
    return {
        split: dict(evaluate_run(run, dataset.qrels(split), measures=MEASURES).means)
        for split, run in runs.items()
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as lines of text, in percent."""
    lines = []
    for row in rows:
        cells = [
            f"{split} {100 * each['MRR@10']:.2f} / {100 * each['Recall@1000']:.1f}"
            for split, each in row["figures"].items()
        ]
        lines.append(f"{row['engine']}, {row['words']}: " + ", ".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write the JSON."""
    parser = command_line(__doc__, "bm25-words.json")
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    dataset = open_dataset(asked.data)
    record = describe(threads=1)
    record["dataset"] = {"name": dataset.name, "checksum": dataset.checksum()}
    record["orientation"] = ORIENTATION
    made = figures(dataset, of_corom(dataset))
    rows = [{"engine": "corom", "words": "as corom cuts", "figures": made}]
    for name, cut in CUTS.items():
        rows.append(
            {"engine": "bm25s", "words": name, "figures": figures(dataset, of_bm25s(dataset, cut))}
        )
        say(table(rows[-1:]))
    record["rows"] = rows
    print(table(rows))
    write_json(asked.json, record)


if __name__ == "__main__":
    main()
