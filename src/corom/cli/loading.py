"""What verbs load, as their flags say: encoders, rerankers, splitters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from corom.cli.console import note
from corom.errors import InputError
from corom.models import EMBEDDED

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.reranker import Reranker, SecondPass
    from corom.splitting import Splitter

BM25 = "bm25"


def load_encoder(model: str, **options: Any) -> Encoder:  # noqa: ANN401 - those of Encoder.load
    """Return the encoder the flags ask for; what it warns of goes to standard error."""
    from corom.encoder import Encoder

    with _warnings_noted():
        return Encoder.load(model, **options)


def load_reranker(model: str, **options: Any) -> Reranker:  # noqa: ANN401 - those of Reranker.load
    """Return the reranker the flags ask for, as `load_encoder` does."""
    from corom.reranker import Reranker

    with _warnings_noted():
        return Reranker.load(model, **options)


def load_second_pass(
    model: str | None,
    *,
    depth: int | None,
    share: float | None,
    **options: Any,  # noqa: ANN401 - those of Reranker.load
) -> SecondPass | None:
    """Return the second pass, if a reranker was named; InputError for its flags without it."""
    if model is None:
        if depth is not None or share is not None:
            raise InputError("--rerank-depth and --rerank-share belong to --rerank")
        return None
    from corom.reranker import SecondPass

    return SecondPass(
        reranker=load_reranker(model, **options),
        depth=SecondPass.depth if depth is None else depth,
        share=SecondPass.share if share is None else share,
    )


def load_splitter(model: str, *, part_tokens: int, reads: int | None = None) -> Splitter:
    """Return what cuts texts for a model that reads so many tokens.

    For an index of words (bm25) it counts the tokens of the embedded model.
    """
    from corom.splitting import Splitter

    if reads is not None and part_tokens > reads:
        raise InputError(f"--part-tokens {part_tokens}: {model} reads only {reads}")
    return Splitter.load(EMBEDDED if model == BM25 else model, max_tokens=part_tokens)


@contextmanager
def _warnings_noted() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        note(str(warning.message))
