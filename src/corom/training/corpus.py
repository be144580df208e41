"""A tokenised corpus on disk: read once, then mapped into memory by every process.

In its folder, beside a manifest:

    ids.npy          (tokens,) int32, documents one after another, no special tokens
    offsets.npy      (documents + 1,) int64
    frequencies.npy  (vocabulary,) int64: documents a token occurs in
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corom.errors import InputError
from corom.files import atomic_folder, check_manifest
from corom.index.segments import write_array
from corom.readers import SkipReport, open_passages
from corom.tokens import TokenCutter
from corom.training.masking import Statistics

_LINES = 2048
_NO_CUT = 1 << 30


class Corpus:
    """Documents as token ids, and what they say about the tokens."""

    def __init__(self, folder: Path) -> None:
        check_manifest(folder, deep=False)
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")
        self.offsets = np.load(folder / "offsets.npy")
        frequencies = np.load(folder / "frequencies.npy")
        self.statistics = Statistics(frequencies, len(self), len(self.ids) / len(self))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, number: int) -> NDArray[np.int64]:
        """Return the token ids of a document."""
        found = self.ids[self.offsets[number] : self.offsets[number + 1]]
        return np.array(found, dtype=np.int64)


def write_corpus(
    folder: Path, paths: Sequence[str], *, tokenizer_json: str, vocabulary: int
) -> SkipReport:
    """Write the corpus of text files (4 bytes a token, all of it in memory once).

    A line that is empty or not UTF-8 is left out; the report counts them.
    """
    skips = SkipReport()
    lines = (p.content for path in paths for p in open_passages(Path(path), skips=skips))
    documents: list[NDArray[np.int32]] = []
    frequencies = np.zeros(vocabulary, dtype=np.int64)
    for ids in _tokenised(lines, tokenizer_json=tokenizer_json):
        documents.append(ids)
        frequencies[np.unique(ids)] += 1
    if not documents:
        raise InputError(f"no text in {', '.join(paths)}; {skips.describe()}")
    offsets = np.cumsum([0, *(len(ids) for ids in documents)], dtype=np.int64)
    with atomic_folder(folder) as draft:
        write_array(draft / "ids.npy", np.concatenate(documents))
        write_array(draft / "offsets.npy", offsets)
        write_array(draft / "frequencies.npy", frequencies)
    return skips


def _tokenised(texts: Iterable[str], *, tokenizer_json: str) -> Iterator[NDArray[np.int32]]:
    cutter, coming = TokenCutter(tokenizer_json, max_length=_NO_CUT), iter(texts)
    while chunk := list(islice(coming, _LINES)):
        for tokens in cutter.cut(chunk):
            if len(inner := tokens.ids[1:-1]):
                yield inner


def spans(
    ids: NDArray[np.int64], *, length: int, shortest: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return two spans of a document that do not overlap, or one of a short document.

    A span has at most `length` tokens, and half the document's at most; a document of less than
    twice `shortest` tokens is short.
    """
    if len(ids) < 2 * shortest:
        start = int(rng.integers(max(1, len(ids) - length + 1)))
        return [ids[start : start + length]]
    size = min(length, len(ids) // 2)
    one = int(rng.integers(len(ids) - 2 * size + 1))
    other = int(rng.integers(one + size, len(ids) - size + 1))
    return [ids[one : one + size], ids[other : other + size]]
