"""How good a run is: the measures of the field, computed by ir_measures on our rank order.

Scores are replaced by falling whole numbers before they are measured: ir_measures breaks ties by
passage id ascending for one measure and descending for the next, and takes NaN and repeated
passages without a word. So every figure is that of the one ranking rule.

| name | definition, per query |
|---|---|
| `MRR@k`, `MRR` | 1 / rank of the first relevant passage (among the first k), else 0 |
| `Recall@k` | relevant passages among the first k / relevant passages |
| `Success@k` | 1 if a relevant passage is among the first k, else 0 |
| `Precision@k` | relevant passages among the first k / k |
| `MAP@k`, `MAP` | sum of the precisions at relevant passages (of the first k) / relevant passages |
| `nDCG@k`, `nDCG` | sum of grade / log2(rank + 1), over that of the best order |

Relevant is grade 1 and above; nDCG's gain is the grade itself, as in trec_eval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corom.errors import InputError
from corom.extras import need
from corom.ranking import rank_hits
from corom.records import Qrel, Run

DEFAULT_MEASURES = ("MRR@10", "Recall@1000", "nDCG@10", "MAP")

_NAMES = {"MRR": "RR", "Recall": "R", "Success": "Success", "Precision": "P", "MAP": "AP"}
_NAMES["nDCG"] = "nDCG"
_NEEDS_CUTOFF = ("Recall", "Success", "Precision")


@dataclass(frozen=True)
class Evaluation:
    """The measures of one run: means as fractions of one, and every query's values.

    `means` are over the `queries` of `per_query`: those with a relevant passage in the qrels, in
    the order of the qrels. Of these `missing` are not in the run and count as zero. `excluded`
    queries have judgements but no relevant passage, and `ignored` queries of the run have no
    judgement: neither takes part.
    """

    means: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    missing: int = 0
    excluded: int = 0
    ignored: int = 0

    @property
    def queries(self) -> int:
        """How many queries the means are over."""
        return len(self.per_query)

    def values(self, measure: str) -> NDArray[np.float64]:
        """Return one measure of every query, `(queries,) float64`: what significance.py takes."""
        if measure not in self.means:
            raise InputError(f"{measure!r} was not measured; there are {', '.join(self.means)}")
        return np.array([values[measure] for values in self.per_query.values()])


def evaluate_run(
    run: Run, qrels: Iterable[Qrel], *, measures: Sequence[str] = DEFAULT_MEASURES
) -> Evaluation:
    """Return how well `run` ranks what `qrels` judge relevant.

    A million hits take about two seconds. Raises InputError for an unknown measure, NaN scores,
    a passage that occurs twice for a query, two judgements of one pair, and qrels without any
    relevant passage; MissingExtraError without ir_measures.
    """
    wanted = _parse_measures(measures)
    judged = _by_query(qrels)
    relevant = {q: grades for q, grades in judged.items() if max(grades.values()) >= 1}
    if not relevant:
        raise InputError("the qrels hold no relevant passage; there is nothing to measure against")
    ranks = {q: _falling(run[q]) for q in relevant if q in run}
    per_query = {query: dict.fromkeys(measures, 0.0) for query in relevant}
    for query, measure, value in need("ir_measures", extra="eval").iter_calc(
        list(wanted), relevant, ranks
    ):
        per_query[query][wanted[measure]] = float(value)
    return Evaluation(
        means=means_of(per_query, measures),
        per_query=per_query,
        missing=len(relevant) - len(ranks),
        excluded=len(judged) - len(relevant),
        ignored=sum(query not in judged for query in run),
    )


def means_of(
    per_query: Mapping[str, Mapping[str, float]], measures: Sequence[str]
) -> dict[str, float]:
    """Return the mean of each measure over the queries, of which there is at least one."""
    return {
        name: fsum(each[name] for each in per_query.values()) / len(per_query) for name in measures
    }


def _parse_measures(names: Sequence[str]) -> dict[Any, str]:
    """Map ir_measures' measures to the names they were asked for by."""
    library = need("ir_measures", extra="eval")
    wanted = {}
    for name in names:
        found = re.fullmatch(r"([A-Za-z]+)(?:@([1-9][0-9]{0,8}))?", name)
        if not found or found[1] not in _NAMES or (found[1] in _NEEDS_CUTOFF and not found[2]):
            known = ", ".join(f"{each}@k" for each in _NAMES)
            raise InputError(f"unknown measure {name!r}; known are {known}, MRR, MAP and nDCG")
        wanted[library.parse_measure(name.replace(found[1], _NAMES[found[1]], 1))] = name
    if len(wanted) < len(names) or not names:
        raise InputError(f"measures {list(names)} must be at least one, each once")
    return wanted


def _by_query(qrels: Iterable[Qrel]) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    for query, passage, grade in qrels:
        grades = judged.setdefault(query, {})
        if passage in grades:
            raise InputError(f"passage {passage!r} is judged twice for query {query!r}")
        grades[passage] = grade
    return judged


def _falling(hits: Iterable[Any]) -> dict[str, float]:
    ids = [hit.id for hit in rank_hits(hits)]
    return dict(zip(ids, map(float, range(len(ids), 0, -1)), strict=True))
