"""What happens to a text before it is cut into tokens: almost nothing, and never an exception.

Case, width and accents are the tokenizer's business (they belong to the checkpoint). Here a text
only becomes something that can be encoded as UTF-8: a lone surrogate, which Python strings may
hold and nothing else accepts, becomes U+FFFD. BERT's normaliser drops that character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from corom.errors import InputError

_SENTENCE_END = re.compile(r"(?:[。！？!?；;…]+[”’\"'）)】」』]*|\.(?=\s|$)|\n)+")


def clean(text: str) -> str:
    """Return `text` with every lone surrogate replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def check_texts(texts: Iterable[str]) -> Iterator[str]:
    """Yield each text, cleaned; raise InputError with the position of what is not a `str`.

    One string is refused as well: iterating over it would silently encode its characters.
    """
    if isinstance(texts, str | bytes):
        raise InputError("texts must be a list (or another iterable) of str, not one string")
    try:
        items = iter(texts)
    except TypeError:
        kind = type(texts).__name__
        raise InputError(f"texts must be an iterable of str, not {kind}") from None
    for position, text in enumerate(items):
        if not isinstance(text, str):
            raise InputError(f"text {position} is {type(text).__name__}, not str")
        yield clean(text)


def sentence_ends(text: str) -> list[int]:
    """Return the positions at which a sentence ends, ascending; what follows the last may be none.

    One ends behind 。！？； and the like with what closes quotes, behind a line feed, and behind a
    full stop before white space: not behind that of 0.5g.
    """
    return [match.end() for match in _SENTENCE_END.finditer(text)]
