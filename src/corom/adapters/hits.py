"""What the adapters that search say of a hit besides its text."""

from __future__ import annotations

from corom.search import FoundPassage


def metadata_of(hit: FoundPassage) -> dict[str, str]:
    """Return the columns that the index keeps, and the title if there is one."""
    return {**hit.fields, **({"title": hit.title} if hit.title else {})}
