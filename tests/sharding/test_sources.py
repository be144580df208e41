"""Sources: what a name stands for, and reading on from any place in them."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

import pytest

from corom.errors import FormatError, InputError
from corom.records import Passage
from corom.sharding.sources import Place, current_stamp, find_sources, read_from
from sharding.corpora import PASSAGES, write_corpus

NAMES = ["c.jsonl", "c.tsv", "c.txt", "c.jsonl.gz", "c.tsv.xz", "c.jsonl.zst", "c.parquet"]


def expected(name: str) -> list[Passage]:
    if ".tsv" in name:
        return [Passage(p.id, p.text) for p in PASSAGES]
    if ".txt" in name:
        return [Passage(str(n), p.text) for n, p in enumerate(PASSAGES, 1)]
    return PASSAGES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("remote", [False, True])
def test_read_from_every_place(name: str, remote: bool, tmp_path: Path) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    if name.endswith(".zst"):
        pytest.importorskip("zstandard", reason="needs the extra data")
    if remote:
        pytest.importorskip("fsspec", reason="needs the extra cloud")
    path = write_corpus(tmp_path / name)
    [source] = find_sources(f"file://{path}" if remote else str(path))
    placed = list(read_from(source))
    assert [each.passage for each in placed] == expected(name)
    for first in (0, 1, 6, 7, 20, 39):
        rest = [each.passage for each in islice(read_from(source, placed[first].start), 9)]
        assert rest == expected(name)[first : first + 9]


def test_memory_of_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the extra cloud")
    store = fsspec.filesystem("memory")
    for part in ("a", "b"):
        local = write_corpus(tmp_path / f"{part}.jsonl")
        store.pipe(f"/corpus/{part}.jsonl", local.read_bytes())
    store.pipe("/corpus/README.md", b"no passages")
    for name in ("memory://corpus/*.jsonl", "memory://corpus", "memory://corpus/"):
        found = find_sources(name)
        assert [each.url for each in found] == [f"memory:///corpus/{p}.jsonl" for p in "ab"]
        assert [each.passage for each in read_from(found[1])] == PASSAGES
    for name in ("memory://corpus/*.csv", "memory://nothing"):
        with pytest.raises(InputError, match="names no"):
            find_sources(name)
    with pytest.raises(InputError, match="cannot be listed"):
        find_sources("memory://corpus/c.jsonl")
    for name in ("corpus", "queries"):
        store.pipe(f"/set/{name}.jsonl", local.read_bytes())
    with pytest.raises(InputError, match="folder of a data set"):
        find_sources("memory://set")
    assert len(find_sources("memory://set/corpus.jsonl")) == 1


def test_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b.tsv", "a.tsv", "c.jsonl"):
        write_corpus(tmp_path / name)
    (tmp_path / "notes.md").write_text("no passages")
    assert [Path(s.url).name for s in find_sources(str(tmp_path))] == ["a.tsv", "b.tsv", "c.jsonl"]
    found = find_sources(str(tmp_path / "*.tsv"))
    assert [Path(s.url).name for s in found] == ["a.tsv", "b.tsv"]


def test_lines_of_several_files_have_ids_of_their_own(tmp_path: Path) -> None:
    for name in ("x/a.txt", "y/z/a.txt", "c.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_corpus(tmp_path / name, PASSAGES[:2])
    found = find_sources(str(tmp_path / "**" / "*.*"))
    ids = [[each.passage.id for each in read_from(source)] for source in found]
    assert ids == [["p0", "p1"], ["x/a.txt:1", "x/a.txt:2"], ["y/z/a.txt:1", "y/z/a.txt:2"]]
    found = find_sources(str(tmp_path / "x" / "*.*"))
    assert [each.passage.id for each in read_from(found[0])] == ["1", "2"]


def test_a_file_is_one_source_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text('{"id": "1", "text": "头痛"}\n', encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    names = ("data/a.jsonl", "data/../data/a.jsonl", "link/a.jsonl", str(tmp_path / "link/*.jsonl"))
    assert len({find_sources(name)[0] for name in names}) == 1


def test_a_link_is_read_by_its_own_name(tmp_path: Path) -> None:
    blob = write_corpus(tmp_path / "c.jsonl.gz").rename(tmp_path / "0f3a")
    (tmp_path / "link.jsonl.gz").symlink_to(blob)
    [source] = find_sources(str(tmp_path / "link.jsonl.gz"))
    assert source.url == str(tmp_path / "link.jsonl.gz")
    assert [each.passage for each in read_from(source)] == PASSAGES
    assert current_stamp(source) == source.stamp
    blob.unlink()
    with pytest.raises(InputError, match="is gone"):
        current_stamp(source)


def test_a_data_set_is_one_source(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write_corpus(folder / "corpus.jsonl")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "头痛"}\n')
    [source] = find_sources(str(folder))
    assert source.kind == "dataset"
    assert [each.passage for each in read_from(source, Place(30, 31))] == PASSAGES[30:]
    before = current_stamp(source)
    write_corpus(folder / "corpus.jsonl", PASSAGES[:5])
    assert current_stamp(source) != before


def test_queries_and_labels_of_a_data_set_are_no_passages(tmp_path: Path) -> None:
    """Nor are they where its files are compressed; cMedQA2's only .txt files are labels."""
    beir, cpr, cmedqa = (tmp_path / name for name in ("beir", "cpr", "cmedqa"))
    for folder in (beir, cpr, cmedqa):
        folder.mkdir()
    write_corpus(beir / "corpus.jsonl.gz")
    write_corpus(beir / "queries.jsonl.gz", PASSAGES[:3])
    text = "".join(f"{p.id}\t{p.text}\n" for p in PASSAGES).encode()
    for n in range(4):  # cut anywhere
        part = text[n * len(text) // 4 : (n + 1) * len(text) // 4]
        (cpr / f"corpus_split_{n + 1}.tsv.gz").write_bytes(gzip.compress(part))
    answers = "".join(f"{n},1,{p.text}\n" for n, p in enumerate(PASSAGES))
    (cmedqa / "answer.csv").write_text(f"ans_id,question_id,content\n{answers}")
    (cmedqa / "question.csv").write_text("question_id,content\n1,头痛\n")
    (cmedqa / "dev_candidates.txt").write_text("question_id,ans_id,num,label\n1,0,1,1\n")
    for folder in (beir, cpr, cmedqa):
        [source] = find_sources(str(folder))
        assert source.kind == "dataset"
        assert [each.passage.text for each in read_from(source)] == [p.text for p in PASSAGES]


@pytest.mark.parametrize("name", ["none.jsonl", "*.jsonl", "notes.md"])
def test_what_names_nothing_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no passages")
    with pytest.raises(InputError, match=r"names no file of passages"):
        find_sources(str(tmp_path / name))


def test_a_bad_record_is_named_by_its_line(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c.tsv")
    with path.open("ab") as file:
        file.write("秘密 without a tab\n".encode())
    [source] = find_sources(str(path))
    with pytest.raises(FormatError, match=r"c\.tsv, line 41") as caught:
        list(read_from(source, Place(0, 1)))
    assert "秘密" not in str(caught.value)


def test_damage_is_told(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c.jsonl.gz")
    [source] = find_sources(str(path))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="cannot be read"):
        list(read_from(source))


def test_damaged_parquet_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    path = write_corpus(tmp_path / "c.parquet")
    [source] = find_sources(str(path))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="as parquet"):
        list(read_from(source))
