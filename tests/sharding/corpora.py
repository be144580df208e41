"""Corpora of the tests, in every form that can be read."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

from corom.records import Passage

PASSAGES = [
    Passage(f"p{n}", f"糖尿病饮食治疗{'头痛' * (n % 5)}{n}", "高血压" if n % 3 else "")
    for n in range(40)
]


def write_corpus(path: Path, passages: list[Passage] = PASSAGES) -> Path:
    """Write passages in the form that the name asks for."""
    name = path.name
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"id": [p.id for p in passages], "text": [p.text for p in passages]}
        columns["title"] = [p.title for p in passages]
        pq.write_table(pa.table(columns), path, row_group_size=7)
        return path
    if ".tsv" in name:
        lines = [f"{p.id}\t{p.text}" for p in passages]
    elif ".txt" in name:
        lines = [p.text for p in passages]
    else:
        lines = [json.dumps(p._asdict(), ensure_ascii=False) for p in passages]
    data = "".join(f"{line}\n" for line in lines).encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    elif name.endswith(".xz"):
        data = lzma.compress(data)
    elif name.endswith(".zst"):
        import zstandard

        data = zstandard.compress(data)
    path.write_bytes(data)
    return path
