"""Long texts to passages that a model reads to the end.

A text is cut where a paragraph ends, else a sentence, a clause, a word: at the best such place in
the second half of what a passage may hold. Parts of one text come out alike in length, and none
is longer than the model reads. Nothing is lost but white space at the cuts.

A part is called `document#number`, from 1; what fits as it is keeps its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corom.checks import require_whole
from corom.errors import InputError
from corom.models.checkpoint import Checkpoint
from corom.models.names import open_model
from corom.readers.writing import write_lines
from corom.records import Passage
from corom.text import check_texts, clean, sentence_ends
from corom.tokens import TokenCutter

LEAST_TOKENS = 16
# Texts that are in memory together, and about how many characters.
_AT_ONCE, _CHARACTERS = 1024, 1 << 22
# Characters that are cut into tokens together: each takes some 200 bytes meanwhile.
_PIECE = 1 << 16

# How good a place to cut is: better after a paragraph than inside a word.
_WORD, _CLAUSE, _SENTENCE, _PARAGRAPH = 1, 2, 3, 4
# A comma or colon between digits (1,000; 1:5000) ends no clause.
_CLAUSE_END = re.compile(r"[，、：]|[,:](?!\d)|\s")
_PARAGRAPH_END = re.compile(r"\n")
# Latin letters and digits; and the blocks of Chinese characters and of punctuation, of which each
# character is a token of its own (what is left is letters of other scripts, such as Korean).
_ASCII = np.array([chr(code).isalnum() for code in range(128)])
_APART = (
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FA1F)),
    *((0x2000, 0x206F), (0x3000, 0x303F), (0xFF00, 0xFF0F)),
)
_NUMBERED = re.compile(r".+#[0-9]+", re.DOTALL)


class Part(NamedTuple):
    """A passage, and where in which text it stands: `text[start:end]` of the one with that id."""

    passage: Passage
    document: str
    start: int
    end: int

    @property
    def is_whole(self) -> bool:
        """Whether the text was left as it is."""
        return self.passage.id == self.document

    @property
    def is_first(self) -> bool:
        """Whether a text begins here."""
        return self.is_whole or self.passage.id == f"{self.document}#1"


def document_of(passage_id: str) -> str:
    """Return the id of the text that a passage is a part of: its own, if it is no part."""
    return passage_id.rpartition("#")[0] if _NUMBERED.fullmatch(passage_id) else passage_id


def write_parts(path: Path, parts: Iterable[Part]) -> None:
    """Write parts as jsonl: id, title if any, text, and document, start and end.

    `open_passages` reads it; the file appears whole or, when `parts` raises, not at all.
    """
    write_lines(path, (json.dumps(_record(part), ensure_ascii=False) for part in parts))


def _record(part: Part) -> dict[str, str | int]:
    passage = part.passage
    title = {"title": passage.title} if passage.title else {}
    record: dict[str, str | int] = {"id": passage.id, **title, "text": passage.text}
    return record | {"document": part.document, "start": part.start, "end": part.end}


class Splitter:
    """Cuts texts into passages that fit a model."""

    def __init__(
        self, checkpoint: Checkpoint, *, max_tokens: int | None = None, overlap: int = 0
    ) -> None:
        """`max_tokens`: of a passage, with its title, [CLS] and [SEP]; None: what the model reads.

        `overlap`: a part begins with whole sentences of the one before, of so many tokens at most.
        Raises InputError for less than 16 tokens or more than the model has positions, and for an
        overlap of more than a third.
        """
        limit = checkpoint.encoding.max_length if max_tokens is None else max_tokens
        longest = checkpoint.shape.positions
        require_whole(f"max_tokens for {checkpoint.name}", limit, low=LEAST_TOKENS, high=longest)
        require_whole(f"overlap of parts of {limit} tokens", overlap, low=0, high=limit // 3)
        encoding = checkpoint.encoding
        self.max_tokens, self.overlap = limit, overlap
        self.model_reads = encoding.max_length
        self._prefixed = bool(encoding.passage_prefix)
        self._cutter = TokenCutter(
            checkpoint.tokenizer_json,
            max_length=limit,
            prefix=encoding.passage_prefix,
            suffix=encoding.passage_suffix,
        )
        self._room = self._cutter.room
        if self._room < LEAST_TOKENS // 2:
            raise InputError(
                f"max_tokens is {limit}, of which the words {checkpoint.name} puts before passages "
                f"leave {max(0, self._room)}; ask for more"
            )

    @classmethod
    def load(cls, name: str | Path, *, max_tokens: int | None = None, overlap: int = 0) -> Splitter:
        """Return a splitter for the model called `name`; see `Encoder.load`."""
        return cls(open_model(name), max_tokens=max_tokens, overlap=overlap)

    def split(self, passages: Iterable[Passage]) -> Iterator[Part]:
        """Yield the parts of each passage, in order; every part has the passage's title.

        A title that would take more than half of a part becomes the beginning of the text instead
        (and of what start and end count). Takes a small part of the time that encoding does. Raises
        InputError for an id that ends like that of a part (`#1`), is empty or no UTF-8, and for
        what is no passage.
        """
        some: list[Passage] = []
        size = 0
        for passage in _checked(passages):
            some.append(passage)
            size += len(passage.text)
            if len(some) == _AT_ONCE or size >= _CHARACTERS:
                yield from self._split(some)
                some, size = [], 0
        yield from self._split(some)

    def _split(self, passages: Sequence[Passage]) -> Iterator[Part]:
        for passage, long in zip(passages, self._too_long(passages), strict=True):
            if not long:
                yield Part(passage, passage.id, 0, len(passage.text))
                continue
            taken = self._tokens(passage.title) if passage.title else 0
            if not passage.text or taken > self._room // 2:
                passage, taken = passage._replace(title="", text=passage.content), 0
            for number, (start, end) in enumerate(self._spans(passage, self._room - taken), 1):
                text = passage.text[start:end]
                part = passage._replace(id=f"{passage.id}#{number}", text=text)
                yield Part(part, passage.id, start, end)

    def _too_long(self, passages: Sequence[Passage]) -> list[bool]:
        contents = [passage.content for passage in passages]
        return [tokens.truncated for tokens in self._cutter.cut(contents)]

    def _tokens(self, text: str) -> int:
        return len(self._cutter.places(text))

    def _spans(self, passage: Passage, room: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of each part of a text that is too long for one."""
        text = passage.text
        places = np.concatenate([self._cutter.places(t) + at for at, t in _pieces(text)])
        grades = _grades(text, places)
        for first, last in cuts(grades, room=room, overlap=self.overlap):
            start = int(places[first, 0]) if first else 0
            end = int(places[last, 0]) if last < len(places) else len(text)
            # Tokens add up where no word was cut, unless words are put before the text.
            at = [first, last] if last < len(places) else [first]
            whole = not self._prefixed and grades[at].all()
            for piece in [(start, end)] if whole else self._fitting(passage, start, end):
                if text[slice(*piece)].strip():
                    yield _stripped(text, *piece)

    def _fitting(self, passage: Passage, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield a span, or its halves if it has become too long.

        A word that was cut (one of a hundred letters) may be more tokens than it was.
        """
        part = passage._replace(text=passage.text[start:end])
        if end - start < 2 or not self._too_long([part])[0]:
            yield start, end
            return
        middle = (start + end) // 2
        yield from self._fitting(passage, start, middle)
        yield from self._fitting(passage, middle, end)


def cuts(grades: NDArray[np.int8], *, room: int, overlap: int = 0) -> Iterator[tuple[int, int]]:
    """Yield first token and end of parts of at most `room` tokens.

    `grades[i]` says how good it is to cut before token i. A part ends at the best place from half
    of what it would have if all were alike; of equals the one nearest to that length.
    """
    start = end = 0
    total, overlap = len(grades), min(overlap, room // 2)
    while total - start > room:
        rest = total - start
        alike = rest // ceil(rest / room)
        # Not before the last end: such a part would lie within the one before.
        least = max(start + (alike + 1) // 2, end + 1)
        window = grades[least : start + room + 1]
        best = np.flatnonzero(window == window.max()) + least
        end = int(best[np.abs(best - start - alike).argmin()])
        yield start, end
        first = max(start + 1, end - overlap)
        again = np.flatnonzero(grades[first:end] >= _SENTENCE) + first
        start = int(again[0]) if len(again) else end
    yield start, total


def _grades(text: str, places: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return how good a place to cut there is before each token."""
    starts, ends = places[:, 0], places[:, 1]
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    # Whether a token begins, and ends, with a letter of a word that may be more tokens.
    begins, closes = _in_words(codes[starts]), _in_words(codes[ends - 1])
    grades = np.zeros(len(places), np.int8)
    apart = (starts[1:] > ends[:-1]) | ~begins[1:] | ~closes[:-1]
    grades[0] = _PARAGRAPH
    grades[1:][apart] = _WORD
    found = (
        (_CLAUSE, [match.end() for match in _CLAUSE_END.finditer(text)]),
        (_SENTENCE, sentence_ends(text)),
        (_PARAGRAPH, [match.end() for match in _PARAGRAPH_END.finditer(text)]),
    )
    for grade, ends_there in found:
        behind = np.searchsorted(starts, ends_there)
        grades[behind[behind < len(grades)]] = grade
    return grades


def _in_words(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which characters may be joined with others to a word."""
    alone = np.zeros(len(codes), bool)
    for first, last in _APART:
        alone |= (codes >= first) & (codes <= last)
    return np.where(codes < len(_ASCII), _ASCII[np.minimum(codes, len(_ASCII) - 1)], ~alone)


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield the text in pieces that end where sentences do, with the place of each."""
    start = end = 0
    for end in [*sentence_ends(text), len(text)] if len(text) > _PIECE else [len(text)]:
        if end - start >= _PIECE or end == len(text):
            yield start, text[start:end]
            start = end


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without the white space around it."""
    inside = text[start:end]
    return end - len(inside.lstrip()), start + len(inside.rstrip())


def check_text_id(id_: str) -> None:
    """Raise InputError unless parts of a text can be named after its id."""
    if not isinstance(id_, str) or not id_.strip() or clean(id_) != id_:
        raise InputError(f"id {id_!r} must be a str, in UTF-8, with something visible in it")
    if _NUMBERED.fullmatch(id_):
        raise InputError(
            f"id {id_!r} ends like that of a part (#1), which corom split makes; rename such texts"
        )


def _checked(passages: Iterable[Passage]) -> Iterator[Passage]:
    """Yield each passage, cleaned; raise InputError for what is none or cannot be cut."""
    try:
        given = iter(passages)
    except TypeError:
        kind = type(passages).__name__
        raise InputError(f"split takes an iterable of passages, not {kind}") from None
    for passage in given:
        if not isinstance(passage, Passage):
            raise InputError(f"split takes passages, not {type(passage).__name__}")
        check_text_id(passage.id)
        text, title = check_texts([passage.text, passage.title])
        yield passage._replace(text=text, title=title)
