"""Every compression reads and writes the same, and what is broken is refused."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from corom.errors import FormatError, InputError, MissingExtraError
from corom.readers.compression import open_bytes, plain_name
from corom.readers.lines import numbered_lines
from readers.files import ENDINGS, TEXT, lines, packed


@pytest.mark.parametrize("ending", [*ENDINGS, ".zip"])
def test_every_compression_gives_the_same_lines(tmp_path: Path, ending: str) -> None:
    path = packed(tmp_path, ending)
    expected = ["1\t感冒发烧吃什么药", "2\t高血压\u2028不能吃什么\x0b"]
    assert lines(path) == [(path.name, number, line) for number, line in enumerate(expected, 1)]


@pytest.mark.parametrize("ending", [*ENDINGS, ".zip"])
def test_an_empty_file_has_no_lines(tmp_path: Path, ending: str) -> None:
    assert lines(packed(tmp_path, ending, b"")) == []


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst", ".zip"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "not at all"])
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, ending: str, damage: str) -> None:
    path = packed(tmp_path, ending, TEXT * 2000)
    data = path.read_bytes()
    middle = len(data) // 2
    broken = {
        "cut": data[: len(data) - 9],
        "flipped": data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :],
        "not at all": TEXT,
    }
    path.write_bytes(broken[damage])
    try:
        got = lines(path)
    except FormatError as error:
        assert error.path == path  # noqa: PT017 - the other branch is allowed for one case only
    else:
        # zstandard frames carry no checksum by default: a flip may pass, a cut may not.
        assert (ending, damage) == (".zst", "flipped")
        assert got


def test_a_zip_of_many_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.tsv", b"")
        archive.writestr("b.tsv", b"")
    with pytest.raises(FormatError, match="2 files instead of one"):
        lines(path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, ".zip")
    data = bytearray(path.read_bytes())
    for flags in (6, data.index(b"PK\1\2") + 8):  # of the file, and of the list of files
        data[flags] |= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="it is encrypted"):
        lines(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.tsv"):
        with pytest.raises(InputError, match="not a file"), open_bytes(path):
            pass


def test_zstandard_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path, ".zst")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"corom\[data\]"):
        lines(path)


def test_plain_names() -> None:
    names = ["a.tsv", "a.tsv.gz", "question.zip", "gz", "a.gz.xz", "A.TSV.GZ"]
    assert [plain_name(name) for name in names] == [
        "a.tsv",
        "a.tsv",
        "question",
        "gz",
        "a.gz",
        "A.TSV",
    ]


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_no_bytes_are_no_compressed_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"lines.txt{ending}"
    path.touch()
    with pytest.raises(FormatError, match="cannot be read"):
        list(numbered_lines(path))
    with pytest.raises(FormatError, match="cannot be read"):
        list(numbered_lines(str(path)))
