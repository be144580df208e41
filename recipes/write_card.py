"""Fill the figures of results/ into the cards of our own models, wherever they lie.

    python recipes/write_card.py

Rewrites README.md and the manifest of the embedded model, of its master and of the reranker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corom.files import read_json, write_bytes, write_manifest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))
import make_results  # noqa: E402 - not a package

FOLDERS = {
    "src/corom/models/embedded/corom-medical": "corom_medical_card.md",
    "models/corom-medical": "corom_medical_card.md",
    "models/corom-medical-reranker": "corom_medical_reranker_card.md",
}
"""Where a card lies -> what it is made from."""
TABLES: dict[str, dict[str, Callable[[dict[str, Any], str], str]]] = {
    "corom_medical_card.md": {"model": make_results.model, "sizes": make_results.sizes},
    "corom_medical_reranker_card.md": {"reranker": make_results.reranker},
}
"""The results that a card shows, as the README does."""


def card(folder: str) -> str:
    """Return the card of a folder with its tables."""
    source = FOLDERS[folder]
    tables = [
        make(read_json(ROOT / "results" / f"{name}.json"), "en")
        for name, make in TABLES[source].items()
    ]
    text = Path(__file__).with_name(source).read_text(encoding="utf-8")
    return text.replace("<!-- figures -->", "\n\n".join(tables))


def main() -> None:
    """Write the card into every folder."""
    for folder in FOLDERS:
        write_bytes(ROOT / folder / "README.md", card(folder).encode())
        write_manifest(ROOT / folder)
        print(folder)


if __name__ == "__main__":
    main()
