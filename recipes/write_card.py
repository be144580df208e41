"""Fill the figures of results/ into the card of the embedded model, wherever it lies.

    python recipes/write_card.py [FOLDER …]

Rewrites README.md and the manifest of the embedded model and of its master under models/.
"""

from __future__ import annotations

import sys
from pathlib import Path

from corom.files import read_json, write_bytes, write_manifest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))
import make_results  # noqa: E402 - not a package

CARD = Path(__file__).with_name("corom_medical_card.md")
RESULTS = ROOT / "results"
FOLDERS = (ROOT / "src/corom/models/embedded/corom-medical", ROOT / "models/corom-medical")


def card() -> str:
    """Return the card with its tables."""
    return CARD.read_text(encoding="utf-8").replace("<!-- figures -->", figures())


def figures() -> str:
    """Return the tables of the README: what training did, and what smaller forms cost."""
    found = [(make_results.model, "model"), (make_results.sizes, "sizes")]
    paths = [(make, RESULTS / f"{name}.json") for make, name in found]
    return "\n\n".join(make(read_json(path), "en") for make, path in paths if path.is_file())


def main() -> None:
    """Write the card into every folder that is there."""
    for folder in [Path(name) for name in sys.argv[1:]] or FOLDERS:
        write_bytes(folder / "README.md", card().encode())
        write_manifest(folder)
        print(folder)


if __name__ == "__main__":
    main()
