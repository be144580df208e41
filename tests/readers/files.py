"""Files that tests of several modules write, and their lines."""

from __future__ import annotations

import gzip
import lzma
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st

from corom.errors import FormatError
from corom.readers import SkipReport
from corom.readers.lines import numbered_lines

CANARY = "患者王某某头痛三天"
"""What no message may repeat."""
TEXT = "1\t感冒发烧吃什么药\n2\t高血压\u2028不能吃什么\x0b\n".encode()
VISIBLE = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)
ENDINGS = ["", ".gz", ".xz", ".zst"]


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    """Return the file that holds the text."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def workbook(folder: Path, *rows: Sequence[object]) -> Path:
    """Return a .xlsx that holds the rows."""
    book, path = pytest.importorskip("openpyxl").Workbook(), folder / "a.xlsx"
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def packed(folder: Path, ending: str, data: bytes = TEXT) -> Path:
    """Return the file that holds the data, compressed as the ending says."""
    path = folder / f"a.tsv{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.tsv", data)
            archive.writestr("__MACOSX/._a.tsv", b"x")
    elif ending == ".zst":
        zstandard = pytest.importorskip("zstandard")
        half = len(data) // 2
        frames = [zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:])]
        path.write_bytes(b"".join(frames))
    else:
        pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[ending]
        path.write_bytes(pack(data))
    return path


def left_out(read: Callable, path: Path, *, line: int, reason: str, said: str = "") -> list:
    """Return what is read when the one bad line, which is named and not repeated, is left out."""
    with pytest.raises(FormatError, match=f"line {line}: .*{said}") as caught:
        list(read(path))
    assert "头痛" not in str(caught.value)
    skips = SkipReport()
    records = list(read(path, skips=skips))
    assert skips.counts == {reason: 1}
    return records


def lines(*paths: Path) -> list[tuple[str, int, str]]:
    """Return file name, number and text of each line."""
    return [
        (path.name, number, raw.decode(errors="replace"))
        for path, number, raw in numbered_lines(*paths)
    ]
