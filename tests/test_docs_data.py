"""docs/data-formats.md and docs/metrics.md name what the code knows."""

from __future__ import annotations

import re
from pathlib import Path

from corom.metrics import DEFAULT_MEASURES
from corom.readers import recognise
from corom.readers.download import PUBLISHED

ROOT = Path(__file__).parents[1]
FORMATS = (ROOT / "docs/data-formats.md").read_text("utf-8")
MEASURES = (ROOT / "docs/metrics.md").read_text("utf-8")


def test_every_reason_for_leaving_out_a_record_is_listed() -> None:
    sources = "".join(p.read_text("utf-8") for p in (ROOT / "src/corom/readers").glob("*.py"))
    reasons = set(re.findall(r"BadRecordError\(\s*\"([^\"]+)\"", sources))
    assert len(reasons) >= 9
    assert [reason for reason in reasons if f"`{reason}`" not in FORMATS] == []


def test_every_format_is_listed_in_the_docs_and_in_the_error() -> None:
    sources = "".join(p.read_text("utf-8") for p in (ROOT / "src/corom/readers").glob("*.py"))
    formats = set(re.findall(r"form(?:at)?=\"([^\"]+)\"", sources))
    assert len(formats) == 5
    assert [each for each in formats if f"| `{each}` |" not in FORMATS] == []
    assert [each for each in formats if f"  {each}: " not in recognise._KNOWN] == []


def test_public_data_sets_have_their_counts_in_the_docs() -> None:
    for name, published in PUBLISHED.items():
        row = [line for line in FORMATS.splitlines() if line.startswith(f"| `{name}`")][-1]
        numbers = [published.passages, *(n for split in published.splits.values() for n in split)]
        assert [n for n in numbers if f"{n:,}" not in row] == []


def test_every_measure_is_listed() -> None:
    for name in (*DEFAULT_MEASURES, "Success@k", "Precision@k", "nDCG", "MRR"):
        assert f"`{re.sub('@.*', '@k', name)}`" in MEASURES
