"""The text-ranking pipeline of ModelScope: how well each text answers a query.

ModelScope pads every pair to the longest length and reads all at once; here they are batched. Its
scores are the logistic function of a cross-encoder's logit, 0 to 1; so are these.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TypedDict, overload

from corom.errors import InputError
from corom.modelscope.inputs import COMPARE, SOURCE, Input, checked_inputs
from corom.reranker import Reranker, squashed


class RankingOutput(TypedDict):
    """What the pipeline gives back."""

    scores: list[float]
    """of each sentence to compare, in their order, 0 to 1"""


class RankingPipeline:
    """A loaded cross-encoder that scores sentences against one; made by `pipeline`."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    @overload
    def __call__(self, input: Input) -> RankingOutput: ...

    @overload
    def __call__(self, input: Sequence[Input]) -> list[RankingOutput]: ...

    def __call__(self, input: Input | Sequence[Input]) -> RankingOutput | list[RankingOutput]:
        """Return the scores of one input, or of each in a list; these are read together.

        Raises InputError naming what is wrong with which input: each needs one source sentence and
        sentences to compare.
        """
        inputs, single = checked_inputs(input)
        for sources, others in inputs:
            if len(sources) != 1 or not others:
                raise InputError(
                    f"text ranking takes one {SOURCE} and some {COMPARE} at a time, not "
                    f"{len(sources)} and {len(others)}"
                )
        queries = [sources[0] for sources, others in inputs for _ in others]
        passages = [text for _, others in inputs for text in others]
        scores = iter(squashed(self._reranker.score(queries, passages)).tolist())
        found = [RankingOutput(scores=list(islice(scores, len(others)))) for _, others in inputs]
        return found[0] if single else found
