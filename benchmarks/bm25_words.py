"""Why our BM25 finds more than the figures it was given for orientation: what counts as a word.

    python benchmarks/bm25_words.py          (in an environment with corom, ir_measures and bm25s)

The orientation, of an earlier experiment: words by jieba's search mode, k1 1.2, b 0.75. The same
ways to cut, here by rjieba, are measured with bm25s (Lucene's formula), and so is corom's index. If
bm25s with our words finds what corom finds, the formula is not the reason; which cut it is that
gives the earlier figures, the table shows. See docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import bm25s
import rjieba

from bench import DATA, command_line, describe, say
from corom.evaluation import Lexical
from corom.files import write_json
from corom.metrics import evaluate_run
from corom.readers import Dataset, open_dataset
from corom.records import Hit, Query
from corom.words import folded, segment

MEASURES = ("MRR@10", "Recall@1000")
DEPTH = 1000
ORIENTATION = {
    "consult-dev": {"MRR@10": 0.0746, "Recall@1000": 0.632},
    "huatuo-dev": {"MRR@10": 0.1658, "Recall@1000": 0.532},
}
Cut: TypeAlias = Callable[[str], list[str]]
Search: TypeAlias = Callable[[Sequence[Query]], list[list[Hit]]]


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


def by_bm25s(dataset: Dataset, cut: Cut) -> Search:
    """Return the search of bm25s, with words by `cut`."""
    passages = list(dataset.passages())
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([cut(passage.content) for passage in passages], show_progress=False)

    def search(queries: Sequence[Query]) -> list[list[Hit]]:
        words, k = [cut(query.text) for query in queries], min(DEPTH, len(passages))
        found = index.retrieve(words, k=k, show_progress=False)
        rows = zip(found.documents.tolist(), found.scores.tolist(), strict=True)
        return [  # bm25s fills up with passages that share no word and score 0
            [Hit(passages[place].id, score) for place, score in zip(*row, strict=True) if score > 0]
            for row in rows
        ]

    return search


def figures(dataset: Dataset, search: Search) -> dict[str, Any]:
    """Return the measures of each split."""
    found = {}
    for split in dataset.splits:
        queries = list(dataset.queries(split))
        run = dict(zip((query.id for query in queries), search(queries), strict=True))
        found[split] = dict(evaluate_run(run, dataset.qrels(split), measures=MEASURES).means)
    return found


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
    ours = partial(Lexical().index(dataset.passages()).search, depth=DEPTH)
    made = figures(dataset, ours)
    rows = [{"engine": "corom", "words": "as corom cuts", "figures": made}]
    for name, cut in CUTS.items():
        made = figures(dataset, by_bm25s(dataset, cut))
        rows.append({"engine": "bm25s", "words": name, "figures": made})
        say(table(rows[-1:]))
    record["rows"] = rows
    print(table(rows))
    write_json(asked.json, record)


if __name__ == "__main__":
    main()
