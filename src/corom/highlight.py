"""What in a passage answers a query: the sentence, and the words both have.

Marking is for the eye and never changes a ranking. Spans are positions in the passage's own text,
so whoever shows it decides how, and need not trust markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, NamedTuple

from corom.checks import require_whole
from corom.errors import InputError
from corom.text import sentence_ends
from corom.words import Cut, folded, segment

MAX_SENTENCES = 32
"""sentences of a passage, the first ones, worth encoding to find the best"""
_LATIN = re.compile(r"[a-z0-9]")


class Span(NamedTuple):
    """A marked part of a passage: `text[start:end]`."""

    start: int
    end: int
    kind: Literal["word", "sentence"]


class Snippet(NamedTuple):
    """The part of a passage worth showing, `text[start:end]`, and what to mark in it."""

    start: int
    end: int
    spans: list[Span]
    """the best sentence first, then shared words in order; positions in the whole passage"""


def sentences(text: str) -> list[Span]:
    """Return the sentences of `text` (`sentence_ends`) without the white space around them."""
    found, start = [], 0
    for end in [*sentence_ends(text), len(text)]:
        inside = text[start:end]
        if kept := inside.strip():
            first = start + inside.index(kept[0])
            found.append(Span(first, first + len(kept), "sentence"))
        start = end
    return found


def first_sentences(text: str) -> list[str]:
    """Return the first `MAX_SENTENCES` sentences of `text`: those whose scores `snippet` takes."""
    return [text[span.start : span.end] for span in sentences(text)[:MAX_SENTENCES]]


def shared_words(query: str, text: str) -> list[Span]:
    """Return where words of `query` stand in `text`, in order, touching ones joined.

    Width and case do not matter. Words are cut by rjieba if it is installed, else by bigrams;
    single Chinese characters (的, 吗) count only in a query that has nothing longer.
    """
    words = set(segment(query, cut=_cut()))
    words = {word for word in words if len(word) > 1} or words
    if not words:
        return []
    pattern = "|".join(map(_whole, sorted(words, key=len, reverse=True)))
    # One character may fold into several (㎎ into mg): `origin` leads back.
    pieces = [folded(character) for character in text]
    origin = [place for place, piece in enumerate(pieces) for _ in piece]
    found: list[Span] = []
    # The look-ahead finds words that overlap as well.
    for match in re.finditer(f"(?=({pattern}))", "".join(pieces)):
        start, end = origin[match.start(1)], origin[match.end(1) - 1] + 1
        if found and start <= found[-1].end:
            found[-1] = found[-1]._replace(end=max(end, found[-1].end))
        else:
            found.append(Span(start, end, "word"))
    return found


def snippet(
    query: str,
    text: str,
    *,
    max_chars: int = 120,
    sentence_scores: Sequence[float] | None = None,
) -> Snippet:
    """Return the part of `text`, up to `max_chars`, around the sentence that answers best.

    That is the sentence with the most shared text, or with the highest of `sentence_scores`, one
    for each of `first_sentences(text)` (say, products of vectors); of equals the first. Raises
    InputError if the number of scores does not fit.
    """
    require_whole("max_chars", max_chars)
    parts, words = sentences(text), shared_words(query, text)
    if sentence_scores is None:
        sentence_scores = _shared(parts, words)
    elif len(sentence_scores) != (first := min(len(parts), MAX_SENTENCES)):
        raise InputError(f"{len(sentence_scores)} scores came for {first} sentences")
    if not parts:
        return Snippet(0, 0, [])
    best = parts[max(range(len(sentence_scores)), key=sentence_scores.__getitem__)]
    start, end = _window(best, words, len(text), max_chars)
    shown = [best, *words]
    return Snippet(start, end, [span for span in shown if span.start < end and span.end > start])


def _shared(parts: list[Span], words: list[Span]) -> list[int]:
    """Return how many characters of the words each sentence holds; both are in order."""
    shared, at = [0] * len(parts), 0
    for word in words:
        while at < len(parts) and parts[at].end <= word.start:
            at += 1
        place = at
        while place < len(parts) and parts[place].start < word.end:
            shared[place] += _overlap(parts[place], word)
            place += 1
    return shared


def _window(best: Span, words: list[Span], length: int, max_chars: int) -> tuple[int, int]:
    """Return the part to show: the sentence in the middle, or its part with the first words."""
    room = max_chars - (best.end - best.start)
    if room >= 0:
        start = max(0, min(best.start - room // 2, length - max_chars))
        return start, min(length, start + max_chars)
    inside = [word.start for word in words if _overlap(best, word)]
    first = max(best.start, inside[0] - max_chars // 4) if inside else best.start
    start = min(first, best.end - max_chars)
    return start, start + max_chars


def _overlap(one: Span, other: Span) -> int:
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def _whole(word: str) -> str:
    """Return a pattern for `word`: of Latin letters and digits only whole words count."""
    before = r"(?<![a-z0-9])" if _LATIN.match(word[0]) else ""
    after = r"(?![a-z0-9])" if _LATIN.match(word[-1]) else ""
    return before + re.escape(word) + after


def _cut() -> Cut:
    return "words" if find_spec("rjieba") else "bigrams"
