"""Opening, numbering, compressing: what every reader stands on."""

from __future__ import annotations

import copy
import gzip
import itertools
import lzma
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import FormatError, InputError, MissingExtraError
from corom.readers.lines import (
    BadRecordError,
    SkipReport,
    numbered_lines,
    open_bytes,
    plain_name,
    read_records,
    require_unique,
)
from corom.readers.writing import write_lines

TEXT = "1\t感冒发烧吃什么药\n2\t高血压\u2028不能吃什么\x0b\n".encode()
ENDINGS = ["", ".gz", ".xz", ".zst"]


def packed(folder: Path, ending: str, data: bytes = TEXT) -> Path:
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


def lines(*paths: Path) -> list[tuple[str, int, str]]:
    return [
        (path.name, number, raw.decode(errors="replace"))
        for path, number, raw in numbered_lines(*paths)
    ]


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


def test_byte_order_mark_and_carriage_returns_go(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbfa\r\n\r\nb\rc\r\n\xef\xbb\xbfd")
    assert [line for _, _, line in lines(path)] == ["a", "", "b\rc", "\ufeffd"]


@pytest.mark.parametrize("ending", [*ENDINGS, ".zip"])
@pytest.mark.parametrize("form", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_by_its_mark(tmp_path: Path, ending: str, form: str) -> None:
    text = f"头痛\u2028\u0a0a😭\r\n{'长😭' * 30_000}\n发热"  # U+0A0A holds the bytes of line feeds
    path = packed(tmp_path, ending, f"\ufeff{text}".encode(form))
    expected = ["头痛\u2028\u0a0a😭", "长😭" * 30_000, "发热"]
    assert [line for _, _, line in lines(path)] == expected
    assert [raw.decode("gb18030") for _, _, raw in numbered_lines(path, encoding="gb18030")] == (
        expected
    )


@pytest.mark.parametrize("broken", [b"\xff\xfea", b"\xff\xfe\x00\xdc", b"\xff\xfe\x00\xd8"])
def test_what_begins_as_utf_16_and_is_not(tmp_path: Path, broken: bytes) -> None:
    with pytest.raises(FormatError, match="it begins as UTF-16 and is not"):
        lines(packed(tmp_path, "", broken))


@given(
    text=st.text(st.sampled_from("医生\nab\t😭"), max_size=40),
    cuts=st.lists(st.integers(0, 160), min_size=3, max_size=3).map(sorted),
)
def test_parts_cut_anywhere_read_like_the_whole(
    tmp_path_factory: pytest.TempPathFactory, text: str, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    data = text.encode()
    edges = [0, *(min(cut, len(data)) for cut in cuts), len(data)]
    parts = []
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        parts.append(folder / str(number))
        parts[-1].write_bytes(data[start:end])
    whole = folder / "whole"
    whole.write_bytes(data)
    assert [line for _, _, line in lines(*parts)] == [line for _, _, line in lines(whole)]


def test_a_line_across_a_border_is_reported_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes("a\n医".encode()[:-1])
    (tmp_path / "2").write_bytes("医".encode()[-1:] + b"\nb\n")
    got = lines(tmp_path / "1", tmp_path / "2")
    assert got == [("1", 1, "a"), ("1", 2, "医"), ("2", 2, "b")]


def refuse_short(line: str) -> str:
    if len(line) < 2:
        raise BadRecordError("short", "is short")
    return line


def test_bad_records_raise_with_file_and_line_or_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("头痛\n".encode() + b"x\n" + b"\xff\xfe\n" + "咳嗽".encode())
    with pytest.raises(FormatError, match="line 2: is short") as caught:
        list(read_records([path], refuse_short, skips=None))
    for error in (caught.value, copy.copy(caught.value)):  # workers send copies of theirs
        assert (error.path, error.line, error.reason) == (path, 2, "short")
    skips = SkipReport()
    for _ in range(2):  # read twice, counted once
        assert list(read_records([path], refuse_short, skips=skips)) == ["头痛", "咳嗽"]
    assert skips.counts == {"short": 1, "invalid UTF-8": 1}
    assert skips.total == 2
    assert "2 records were left out" in skips.describe()
    assert "line 2" in skips.describe()
    assert SkipReport().describe() == "nothing was left out"


def test_a_key_comes_once() -> None:
    check, other = require_unique(), require_unique()
    for key in ("1", "01", 1, ("1", "2"), ("12",)):
        check(key)
        other(key)
    with pytest.raises(BadRecordError, match="repeats the id"):
        check(("1", "2"))


def test_the_first_ten_places_are_named_and_all_are_counted(tmp_path: Path) -> None:
    path, skips = tmp_path / "a", SkipReport()
    path.write_bytes(b"x\n" * 12)
    assert list(read_records([path], refuse_short, skips=skips)) == []
    assert (skips.total, len(skips.first)) == (12, 10)
    assert "line 10:" in skips.first[-1]


def test_a_broken_file_is_never_skipped(tmp_path: Path) -> None:
    path = packed(tmp_path, ".gz")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError):
        list(read_records([path], str, skips=SkipReport()))


@pytest.mark.parametrize("ending", ENDINGS)
def test_written_lines_read_back_and_are_the_same_bytes_twice(tmp_path: Path, ending: str) -> None:
    paths = [tmp_path / f"{number}.tsv{ending}" for number in (1, 2)]
    for path in paths:
        write_lines(path, ["头痛\t1", "", "咳嗽"])
    assert [line for _, _, line in lines(paths[0])] == ["头痛\t1", "", "咳嗽"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_lines(path, ["old"])

    def failing() -> object:
        yield "new"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_lines(path, failing())
    assert [line for _, _, line in lines(path)] == ["old"]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_zip_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="zip"):
        write_lines(tmp_path / "a.zip", [])


def test_plain_names() -> None:
    names = ["a.tsv", "a.tsv.gz", "question.zip", "gz", "a.gz.xz"]
    assert [plain_name(name) for name in names] == ["a.tsv", "a.tsv", "question", "gz", "a.gz"]


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_no_bytes_are_no_compressed_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"lines.txt{ending}"
    path.touch()
    with pytest.raises(FormatError, match="cannot be read"):
        list(numbered_lines(path))
    with pytest.raises(FormatError, match="cannot be read"):
        list(numbered_lines(str(path)))
