"""Chinese medical text embeddings: encode, search, train, serve.

The public names, each loaded when it is first used, so that `import corom` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.errors import CoromError
    from corom.evaluation.evaluate import evaluate
    from corom.index import BM25Index, VectorIndex, open_index
    from corom.metrics import evaluate_run
    from corom.readers import open_dataset, open_passages, open_queries
    from corom.records import Hit, Passage, Qrel, Query
    from corom.reranker import Reranker
    from corom.search import Searcher
    from corom.similarity import rank_passages, score_matrix, score_pairs
    from corom.splitting import Splitter

_HOMES = {
    "BM25Index": "index",
    "CoromError": "errors",
    "Encoder": "encoder",
    "Hit": "records",
    "Passage": "records",
    "Qrel": "records",
    "Query": "records",
    "Reranker": "reranker",
    "Searcher": "search",
    "Splitter": "splitting",
    "VectorIndex": "index",
    "evaluate": "evaluation",
    "evaluate_run": "metrics",
    "open_dataset": "readers",
    "open_index": "index",
    "open_passages": "readers",
    "open_queries": "readers",
    "rank_passages": "similarity",
    "score_matrix": "similarity",
    "score_pairs": "similarity",
}

__all__ = [
    "BM25Index",
    "CoromError",
    "Encoder",
    "Hit",
    "Passage",
    "Qrel",
    "Query",
    "Reranker",
    "Searcher",
    "Splitter",
    "VectorIndex",
    "evaluate",
    "evaluate_run",
    "open_dataset",
    "open_index",
    "open_passages",
    "open_queries",
    "rank_passages",
    "score_matrix",
    "score_pairs",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'corom' has no attribute {name!r}")
    return getattr(import_module(f"corom.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
