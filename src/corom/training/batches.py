"""Examples become token ids, chunks of similar length, and the keys that tell texts apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corom.models.checkpoint import Checkpoint
from corom.tokens import TokenCutter, TokenIds, pad
from corom.training.examples import Drawn, GradedRow, text_key
from corom.training.loss import EMPTY


class Cutters(NamedTuple):
    """A checkpoint's tokenizer as it cuts queries and as it cuts passages."""

    query: TokenCutter
    passage: TokenCutter


def make_cutters(checkpoint: Checkpoint, *, query_length: int, passage_length: int) -> Cutters:
    """Return the cutters of a checkpoint, with its prefixes and suffixes, at these lengths."""
    encoding, most = checkpoint.encoding, checkpoint.shape.positions

    def cutter(length: int, prefix: str, suffix: str) -> TokenCutter:
        length = min(length, most)
        return TokenCutter(
            checkpoint.tokenizer_json, max_length=length, prefix=prefix, suffix=suffix
        )

    return Cutters(
        cutter(query_length, encoding.query_prefix, encoding.query_suffix),
        cutter(passage_length, encoding.passage_prefix, encoding.passage_suffix),
    )


class Chunk(NamedTuple):
    """Texts that go through the model at once."""

    ids: Tensor
    """(n, t) int64 on the device."""
    lengths: Tensor
    """(n,) int64 on the CPU: packing wants them there."""

    def on(self, device: torch.device) -> Chunk:
        """Return the ids on a device."""
        return self._replace(ids=self.ids.to(device, non_blocking=True))


class States(NamedTuple):
    """What the body of a model gave for texts, instead of the texts (`kept_states.KeptStates`)."""

    rows: Tensor
    """(n, hidden) float16, text after text, the text of most rows first."""
    lengths: Tensor
    """(n texts,) int64 on the CPU: the rows of each text."""

    def on(self, device: torch.device) -> States:
        """Return the rows on a device."""
        return self._replace(rows=self.rows.to(device, non_blocking=True))


class Texts(NamedTuple):
    """The texts of a batch, those cut as queries first."""

    queries: tuple[str, ...]
    passages: tuple[str, ...]

    def cut(self, cutters: Cutters) -> list[TokenIds]:
        """Return the token ids of all texts, queries first."""
        found = [*cutters.query.cut(self.queries), *cutters.passage.cut(self.passages)]
        return [tokens.ids for tokens in found]


class Chunks(NamedTuple):
    """Texts cut into what goes through the model at once, still on the CPU."""

    parts: list[Chunk | States]
    order: list[NDArray[np.int64]]
    """The texts of each part, as numbers from 0."""

    def on(self, device: torch.device) -> list[Chunk | States]:
        """Return the parts on a device."""
        return [part.on(device) for part in self.parts]


class Feed(Protocol):
    """Turns texts into chunks: a pure function, called ahead in another thread."""

    def __call__(self, texts: Texts) -> Chunks:
        """Return the chunks of a batch's texts."""
        ...


class TokenFeed:
    """Texts as token ids, longest first, `at_once` in a chunk (0: all together).

    A text is cut once: epochs and random negatives bring the same ones again and again, and a GPU
    is faster than a tokenizer. Its tokens are kept, about 1 kB a text of 200.
    """

    def __init__(self, cutters: Cutters, at_once: int) -> None:
        self._at_once = at_once
        self._known = [_Known(cutters.query), _Known(cutters.passage)]

    def __call__(self, texts: Texts) -> Chunks:
        """Return the chunks of a batch's texts."""
        sides = zip(self._known, texts, strict=True)
        tokens = [ids for known, own in sides for ids in known.cut(own)]
        return cut_up(tokens, at_once=self._at_once)


class _Known:
    """A cutter that remembers."""

    def __init__(self, cutter: TokenCutter) -> None:
        self._cutter = cutter
        self._ids: dict[str, TokenIds] = {}

    def cut(self, texts: Sequence[str]) -> list[TokenIds]:
        new = [text for text in dict.fromkeys(texts) if text not in self._ids]
        found = self._cutter.cut(new)
        self._ids |= {text: tokens.ids for text, tokens in zip(new, found, strict=True)}
        return [self._ids[text] for text in texts]


class TrainBatch(NamedTuple):
    """One process's share of a batch: b queries with s passages each, g graded pairs.

    `texts.queries` holds the queries, then the left and the right sides of the graded pairs;
    `texts.passages` the passages that are there, row after row.
    """

    texts: Texts
    chunks: Chunks
    query_keys: Tensor
    """(b,) int64"""
    known_keys: Tensor
    """(b, any) int64: every known positive, filled up with EMPTY."""
    passage_keys: Tensor
    """(b, s) int64: the positive, the negatives, EMPTY where there is none."""
    labels: Tensor
    """(g,) float32"""

    def on(self, device: torch.device) -> TrainBatch:
        """Return the batch with its tensors on a device."""
        moved = {name: getattr(self, name).to(device) for name in _TENSORS}
        return self._replace(**moved)


_TENSORS = ("query_keys", "known_keys", "passage_keys", "labels")


def make_batch(
    drawn: Sequence[Drawn],
    known: Sequence[Sequence[str]],
    *,
    negatives: int,
    feed: Feed,
    graded: Sequence[GradedRow] = (),
) -> TrainBatch:
    """Return the batch of `drawn` examples; `known` holds every known positive of each."""
    left, right = [row.left for row in graded], [row.right for row in graded]
    queries = (*(example.query for example in drawn), *left, *right)
    rows = [(example.positive, *example.negatives) for example in drawn]
    texts = Texts(queries, tuple(text for row in rows for text in row))
    return TrainBatch(
        texts=texts,
        chunks=feed(texts),
        query_keys=torch.tensor([text_key(example.query) for example in drawn], dtype=torch.int64),
        known_keys=_keys(known, width=max((len(texts) for texts in known), default=0)),
        passage_keys=_keys(rows, width=1 + negatives),
        labels=torch.tensor([row.label for row in graded], dtype=torch.float32),
    )


def _keys(rows: Sequence[Sequence[str]], *, width: int) -> Tensor:
    keys = torch.full((len(rows), width), EMPTY, dtype=torch.int64)
    for number, texts in enumerate(rows):
        keys[number, : len(texts)] = torch.tensor([text_key(t) for t in texts], dtype=torch.int64)
    return keys


def by_length(lengths: Sequence[int], *, at_once: int) -> list[NDArray[np.int64]]:
    """Return the rows of each chunk: longest texts first, at most `at_once` (0: all together)."""
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    return (
        [order]
        if not at_once
        else [order[start : start + at_once] for start in range(0, len(order), at_once)]
    )


def cut_up(tokens: Sequence[TokenIds], *, at_once: int) -> Chunks:
    """Return texts as chunks, padded; what comes in each is as in `by_length`."""
    order = by_length(list(map(len, tokens)), at_once=at_once)
    return Chunks([_chunk([tokens[row] for row in rows]) for rows in order], order)


def _chunk(tokens: Sequence[TokenIds]) -> Chunk:
    lengths = torch.tensor([len(ids) for ids in tokens])
    ids = torch.from_numpy(pad(tokens, int(lengths.max())))
    return Chunk(ids.to(torch.int64), lengths)


def restored(vectors: Tensor, chunks: Sequence[NDArray[np.int64]]) -> Tensor:
    """Return the vectors of all chunks in the order of the texts that `by_length` cut up."""
    places = torch.from_numpy(np.argsort(np.concatenate(chunks)))
    return vectors.index_select(0, places.to(vectors.device))
