from __future__ import annotations

import os

import pytest

from corom.errors import FormatError, InputError
from corom.readers import open_documents
from corom.readers.documents import other_files
from corom.records import Passage


def test_each_file_is_a_text(tmp_path):
    (tmp_path / "心内科").mkdir()
    (tmp_path / "心内科" / "高血压.v2.md").write_text("# 高血压\n\n限盐。\n", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "头痛\r\n发热".encode())
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    (tmp_path / "B.TXT").write_text("咳嗽", encoding="utf-16")
    assert list(open_documents(tmp_path)) == [
        Passage("B", "咳嗽"),
        Passage("a", "头痛\r\n发热"),
        Passage("心内科/高血压.v2", "# 高血压\n\n限盐。\n"),
    ]


def test_they_come_in_the_order_of_their_paths(tmp_path):
    names = [f"{n % 3}/{n * 7 % 20:02}" for n in range(20)]
    for name in names:
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("头痛", encoding="utf-8")
    assert [passage.id for passage in open_documents(tmp_path)] == sorted(names)


def test_what_else_lies_there_is_counted_by_ending(tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("a.txt", "b.MD", "c.pdf", "more/d.PDF", "more/e", "more/f.tar.gz", "g.md.gz"):
        (tmp_path / name).touch()
    assert other_files(tmp_path) == {".pdf": 2, "no ending": 1, ".gz": 1}


def test_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        open_documents(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no \.txt or \.md file"):
        open_documents(tmp_path)
    odd = tmp_path / os.fsdecode(b"\xb8\xdf.txt")
    odd.write_text("x")
    with pytest.raises(InputError, match="its name is not UTF-8; rename it"):
        open_documents(tmp_path)
    odd.unlink()
    text = tmp_path / "a.txt"
    text.write_bytes("高血压".encode("gb18030"))
    with pytest.raises(FormatError, match=r"a\.txt.*is not UTF-8 at byte 1"):
        list(open_documents(tmp_path))
    text.write_text(" \n", encoding="utf-8")
    with pytest.raises(FormatError, match="has an empty text"):
        list(open_documents(tmp_path))
    (tmp_path / "a.md").write_text("头痛", encoding="utf-8")
    with pytest.raises(InputError, match="would have one id"):
        open_documents(tmp_path)
    (tmp_path / "a.md").unlink()
    (tmp_path / "a.txt.gz").write_bytes(b"")
    with pytest.raises(InputError, match="is compressed"):
        open_documents(tmp_path)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("头痛", encoding="utf-8")
    (tmp_path / "no").mkdir()
    scandir = os.scandir

    def refusing(place):
        if str(place).endswith("no"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)  # root may read whatever its mode
    with pytest.raises(PermissionError, match="no"):
        open_documents(tmp_path)
