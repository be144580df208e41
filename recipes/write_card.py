"""Fill the figures of results/model.json into the embedded model's card, wherever it lies.

    python recipes/write_card.py [FOLDER …]

Rewrites README.md and the manifest of the embedded model and of its master under models/.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from corom.files import read_json, write_bytes, write_manifest

ROOT = Path(__file__).parents[1]
CARD = Path(__file__).with_name("corom_medical_card.md")
FIGURES = ROOT / "results" / "model.json"
FOLDERS = (ROOT / "src/corom/models/embedded/corom-medical", ROOT / "models/corom-medical")


def card() -> str:
    """Return the card with its tables."""
    return CARD.read_text(encoding="utf-8").replace("<!-- figures -->", figures())


def figures() -> str:
    """Return the tables of retrieval and of pairs."""
    sets = read_json(FIGURES)["sets"]
    lines = [
        "| | model | MRR@10 | Recall@1000 | nDCG@10 | p (MRR@10) |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("open-medical", "cmedir-titles"):
        lines += [_retrieval(name, each) for each in sets[name]["results"]]
    lines += ["", "| | model | AUC |", "|---|---|---|"]
    lines += [
        f"| {each['split']} | {each['model']} | {100 * each['metrics']['AUC']:.1f} |"
        for each in sets["question-pairs"]["results"]
    ]
    return "\n".join(lines)


def _retrieval(dataset: str, result: dict[str, Any]) -> str:
    found, (low, high) = result["metrics"], result["intervals"]["MRR@10"]
    test = result.get("versus", {}).get("MRR@10")
    cells = (
        f"{dataset} / {result['split']}",
        result["model"],
        f"{100 * found['MRR@10']:.2f} [{100 * low:.2f}-{100 * high:.2f}]",
        f"{100 * found['Recall@1000']:.1f}",
        f"{100 * found['nDCG@10']:.2f}",
        "" if test is None else f"{test['p_value']:.4f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the card into every folder that is there."""
    for folder in [Path(name) for name in sys.argv[1:]] or FOLDERS:
        write_bytes(folder / "README.md", card().encode())
        write_manifest(folder)
        print(folder)


if __name__ == "__main__":
    main()
