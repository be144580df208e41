"""What the adapters have in common: what is said of a hit, ranking texts, cutting them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from corom.errors import InputError
from corom.records import Passage
from corom.reranker import Reranker
from corom.search import FoundPassage
from corom.splitting import Part, Splitter


def metadata_of(hit: FoundPassage) -> dict[str, str]:
    """Return the columns that the index keeps, and the title if there is one."""
    return {**hit.fields, **({"title": hit.title} if hit.title else {})}


def ranked(
    reranker: Reranker, query: str, texts: Iterable[str], *, most: int | None
) -> list[tuple[int, float]]:
    """Return the places of the texts that fit `query` best with their scores, best first."""
    passages = [Passage(str(place), text) for place, text in enumerate(texts)]
    return [(int(hit.id), hit.score) for hit in reranker.rank(query, passages, k=most)]


def parts_of(splitter: Splitter, texts: Iterable[tuple[str, str]]) -> Iterator[tuple[int, Part]]:
    """Yield the parts of texts, given with their titles; each with the place of its text.

    Raises InputError for a title that takes more than half of a part: put at the beginning of the
    text, as a Splitter does, it would be embedded twice.
    """
    passages = [Passage(str(place), *each) for place, each in enumerate(texts)]
    for part in splitter.split(passages):
        place = int(part.document)
        if passages[place].title and not part.passage.title:
            raise InputError(
                f"the metadata of document {place} takes more than half of the "
                f"{splitter.max_tokens} tokens of a part; embed less of it, or allow more tokens"
            )
        yield place, part
