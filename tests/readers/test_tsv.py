"""Multi-CPR and MS MARCO folders, id-text files and TREC qrels."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import FormatError, InputError
from corom.readers import open_dataset, read_qrels
from corom.readers.tsv import read_passages_tsv, read_queries_tsv
from corom.records import Passage, Qrel, Query
from readers.files import left_out

CORPUS = "1\t感冒应当多喝水，注意休息。\n2\t高血压患者要少吃盐。\n30000001\t孕妇可以吃苹果。\n"


def multi_cpr(folder: Path, *, corpus: str = CORPUS) -> Path:
    (folder / "corpus.tsv").write_text(corpus, encoding="utf-8")
    (folder / "dev.query.txt").write_text("1\t感冒怎么办\n2\t高血压吃什么\n", encoding="utf-8")
    (folder / "qrels.dev.tsv").write_text("1\t0\t1\t1\n2\t0\t2\t3\n2\t0\t1\t0\n", encoding="utf-8")
    (folder / "README.md").write_text("read me")
    return folder


def test_a_multi_cpr_folder(tmp_path: Path) -> None:
    data = open_dataset(multi_cpr(tmp_path))
    assert (data.format, data.splits, data.name) == ("multi-cpr", ("dev",), tmp_path.name)
    assert [*data.passages()][2] == Passage("30000001", "孕妇可以吃苹果。")
    assert [*data.queries("dev")] == [Query("1", "感冒怎么办"), Query("2", "高血压吃什么")]
    assert [*data.qrels("dev")] == [Qrel("1", "1", 1), Qrel("2", "2", 3), Qrel("2", "1", 0)]
    assert data.unused == ("README.md",)
    assert "does not read: README.md" in data.describe()
    assert "splits: dev" in data.describe()


def test_the_four_parts_are_one_file_cut_inside_characters(tmp_path: Path) -> None:
    data = CORPUS.encode()
    edges = [0, 4, 40, 41, len(data)]  # the first cut is inside 感
    for number, (start, end) in enumerate(itertools.pairwise(edges), 1):
        (tmp_path / f"corpus_split_{number}.tsv").write_bytes(data[start:end])
    (tmp_path / "whole.tsv").write_bytes(data)
    whole = list(read_passages_tsv(tmp_path / "whole.tsv"))
    (tmp_path / "whole.tsv").unlink()
    dataset = open_dataset(tmp_path)
    assert list(dataset.passages()) == whole
    assert dataset.splits == ()
    assert "a corpus only" in dataset.describe()
    (tmp_path / "corpus_split_4.tsv").unlink()
    with pytest.raises(FormatError, match=r"needs corpus_split_1.tsv.*found.*_3.tsv;"):
        open_dataset(tmp_path)


def test_an_ms_marco_folder_with_dots_in_its_splits(tmp_path: Path) -> None:
    (tmp_path / "collection.tsv").write_text("0\tdrink water\n", encoding="utf-8")
    (tmp_path / "queries.dev.small.tsv").write_text("7\twhat to drink\n", encoding="utf-8")
    (tmp_path / "qrels.dev.small.tsv").write_text("7\t0\t0\t1\n", encoding="utf-8")
    (tmp_path / "queries.eval.tsv").write_text("8\tno judgement\n", encoding="utf-8")
    data = open_dataset(tmp_path)
    assert (data.format, data.splits) == ("ms-marco", ("dev.small",))
    assert data.unused == ("queries.eval.tsv",)
    assert data.check().describe() == "1 passages\ndev.small: 1 queries, 1 qrels"


def test_splits_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "collection.tsv").write_text("0\tdrink water\n", encoding="utf-8")
    names = [f"s{n * 7 % 20:02}" for n in range(20)]
    for name in names:
        (tmp_path / f"queries.{name}.tsv").write_text("7\twhat to drink\n", encoding="utf-8")
        (tmp_path / f"qrels.{name}.tsv").write_text("7\t0\t0\t1\n", encoding="utf-8")
    assert open_dataset(tmp_path).splits == tuple(sorted(names))


def test_an_unknown_split_is_refused_by_name(tmp_path: Path) -> None:
    data = open_dataset(multi_cpr(tmp_path))
    for read in (data.queries, data.qrels):
        with pytest.raises(InputError, match="no split 'test'; it has: dev"):
            read("test")


def test_compressed_and_plain_twice_is_refused(tmp_path: Path) -> None:
    multi_cpr(tmp_path)
    (tmp_path / "corpus.tsv.gz").write_bytes(gzip.compress(CORPUS.encode()))
    with pytest.raises(FormatError, match=r"corpus.tsv.* too"):
        open_dataset(tmp_path)
    (tmp_path / "corpus.tsv").unlink()
    assert len(list(open_dataset(tmp_path).passages())) == 3


def test_parts_beside_the_whole_are_refused(tmp_path: Path) -> None:
    multi_cpr(tmp_path)
    for number in range(1, 5):
        (tmp_path / f"corpus_split_{number}.tsv").write_text("")
    with pytest.raises(FormatError, match="remove one"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        (b"5", "wrong columns", "1 columns instead of 2"),
        (b"", "wrong columns", "1 columns instead of 2"),
        ("5\t头痛\t恶心".encode(), "wrong columns", "3 columns"),
        ("\t头痛".encode(), "empty id", "empty id"),
        (b"5\t \xe3\x80\x80", "empty text", "empty text"),
        ("1\t头痛".encode(), "duplicate", "repeats the id"),
        (b"5\t\xff", "invalid UTF-8", "UTF-8 at byte 3"),
    ],
)
def test_bad_passages(tmp_path: Path, line: bytes, reason: str, message: str) -> None:
    path = tmp_path / "corpus.tsv"
    path.write_bytes(CORPUS.encode() + line + b"\n9\tx\n")
    kept = left_out(read_passages_tsv, path, line=4, reason=reason, said=message)
    assert [passage.id for passage in kept] == ["1", "2", "30000001", "9"]
    with pytest.raises(FormatError, match="line 4"):
        list(read_queries_tsv(path))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 0 2", "wrong columns"),
        ("1 0 2 1 1", "wrong columns"),
        ("1\t0\t\t1", "wrong columns"),
        ("1 0 2 1.0", "bad grade"),
        ("1 0 2 x", "bad grade"),
        ("1 0 2 １", "bad grade"),
        ("1 0 2 99999999999999999999", "bad grade"),
        ("1 0 1 2", "duplicate"),
    ],
)
def test_bad_qrels(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "qrels.dev.tsv"
    path.write_text(f"1 0 1 1\n{line}\n2\t0\t1\t-1\n", encoding="utf-8")
    kept = left_out(read_qrels, path, line=2, reason=reason)
    assert kept == [Qrel("1", "1", 1), Qrel("2", "1", -1)]


def test_check_counts_what_does_not_fit(tmp_path: Path) -> None:
    multi_cpr(tmp_path)
    (tmp_path / "dev.query.txt").write_text("1\ta\n2\tb\n3\tc\n4\td\n", encoding="utf-8")
    (tmp_path / "qrels.dev.tsv").write_text(
        "1 0 1 1\n2 0 9 1\n4 0 2 0\n8 0 1 1\n", encoding="utf-8"
    )
    check = open_dataset(tmp_path).check()
    assert check.passages == 3
    split = check.splits["dev"]
    assert split == (4, 4, 1, 1, 1, 1)
    assert split.queries_without_relevant == 1
    assert "1 qrels without passage" in check.describe()


def test_the_checksum_follows_contents_and_names_only(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        multi_cpr(folder)
    (folders[1] / "README.md").write_text("other notes")
    one, two = (open_dataset(folder).checksum() for folder in folders)
    assert one == two
    assert len(one) == 64
    multi_cpr(folders[1], corpus=CORPUS.replace("1\t", "5\t", 1))
    assert open_dataset(folders[1]).checksum() != one


ID = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=5)
LINE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\t\n\r\0"), min_size=1)


@given(st.dictionaries(ID, LINE.filter(str.strip), max_size=8))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("any") / "corpus.tsv"
    path.write_bytes("".join(f"{i}\t{t}\n" for i, t in texts.items()).encode())
    first = next(iter(texts), "")
    if first.startswith("\ufeff"):
        return  # a byte order mark at the start is not part of the id
    assert {p.id: p.text for p in read_passages_tsv(path)} == texts
