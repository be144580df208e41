"""What the adapters that cut documents have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corom.errors import InputError
from corom.records import Passage
from corom.splitting import Part, Splitter


def parts_of(
    splitter: Splitter, texts: Sequence[str], titles: Sequence[str]
) -> Iterator[tuple[int, Part]]:
    """Yield the parts of texts with titles, each with the place of its text.

    Raises InputError for a title that takes more than half of a part: put at the beginning of the
    text, as a Splitter does, it would be embedded twice.
    """
    both = zip(texts, titles, strict=True)
    passages = (Passage(str(place), *of_one) for place, of_one in enumerate(both))
    for part in splitter.split(passages):
        place = int(part.document)
        if titles[place] and not part.passage.title:
            raise InputError(
                f"the metadata of document {place} takes more than half of the "
                f"{splitter.max_tokens} tokens of a part; embed less of it, or allow more tokens"
            )
        yield place, part
