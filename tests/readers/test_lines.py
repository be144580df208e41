"""Lines and records: what every reader stands on."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import FormatError
from corom.readers.lines import (
    BadRecordError,
    SkipReport,
    numbered_lines,
    read_records,
    require_unique,
)
from readers.files import ENDINGS, lines, packed


def test_byte_order_mark_and_carriage_returns_go(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbfa\r\n\r\nb\rc\r\n\xef\xbb\xbfd")
    assert [line for _, _, line in lines(path)] == ["a", "", "b\rc", "\ufeffd"]


@pytest.mark.parametrize("ending", [*ENDINGS, ".zip"])
@pytest.mark.parametrize("form", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_mark_says_how_a_file_is_read(tmp_path: Path, ending: str, form: str) -> None:
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


def test_what_begins_as_utf_8_and_is_not(tmp_path: Path) -> None:
    path = packed(tmp_path, "", b"\xef\xbb\xbf" + "高血压".encode("gb18030"))
    with pytest.raises(FormatError, match="it begins as UTF-8 and is not"):
        list(numbered_lines(path, encoding="gb18030"))


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


def test_records_without_a_line_are_told_apart_by_what_is_said_of_them() -> None:
    skips = SkipReport()
    for number in (1, 2, 3, 2, 1):
        skips.add(FormatError(f"query {number} has none", path="data"), reason="none")
    assert skips.counts == {"none": 3}


def test_a_broken_file_is_never_skipped(tmp_path: Path) -> None:
    path = packed(tmp_path, ".gz")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError):
        list(read_records([path], str, skips=SkipReport()))
