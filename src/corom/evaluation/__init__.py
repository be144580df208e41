"""How well models find what they should: rankings, figures, comparisons, tables.

`evaluate` takes a data set and retrievers (`Dense`, `Lexical`, `Stored`; `Parted` of the first two,
`Fused` of both; `Given`, a ranking from a file; each of them `reranked`), `evaluate_pairs` labelled
pairs; their reports become JSON, tables, a plot and a file of every query's figures.
"""

from corom.evaluation.dense import Dense
from corom.evaluation.evaluate import (
    Report,
    Result,
    Retriever,
    evaluate,
    require_measurable,
    run_name,
)
from corom.evaluation.fused import Fused
from corom.evaluation.given import Given
from corom.evaluation.lexical import Lexical
from corom.evaluation.pairs import (
    PairReport,
    best_threshold,
    evaluate_pairs,
    pair_files,
    pair_metrics,
)
from corom.evaluation.parted import Parted
from corom.evaluation.report import (
    plot_recall,
    require_plot,
    to_json,
    to_markdown,
    to_text,
    write_per_query,
)
from corom.evaluation.reranked import reranked
from corom.evaluation.stored import Stored

__all__ = [
    "Dense",
    "Fused",
    "Given",
    "Lexical",
    "PairReport",
    "Parted",
    "Report",
    "Result",
    "Retriever",
    "Stored",
    "best_threshold",
    "evaluate",
    "evaluate_pairs",
    "pair_files",
    "pair_metrics",
    "plot_recall",
    "require_measurable",
    "require_plot",
    "reranked",
    "run_name",
    "to_json",
    "to_markdown",
    "to_text",
    "write_per_query",
]
