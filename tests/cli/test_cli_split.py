"""split, and search --by-document in an index of what it made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corom.readers import open_passages

LONG = "糖尿病要注意饮食。高血压患者要休息。头痛发热吃什么药？"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    rows = [{"id": "7", "title": "糖尿病", "text": LONG}, {"id": "a", "text": "咳嗽"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_parts_of_what_is_long(run: Callable, documents: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "passages.jsonl.gz"
    done = run("split", documents, "--out", out, "--max-tokens", 16, "-m", model)
    assert done.code == 0, done.err
    assert done.out == f"{out}: 2 texts, 1 of them longer than 16 tokens, in 4 passages\n"
    passages = list(open_passages(out))
    assert [passage.id for passage in passages] == ["7#1", "7#2", "7#3", "a"]
    assert "".join(passage.text for passage in passages[:3]) == LONG
    assert {passage.title for passage in passages[:3]} == {"糖尿病"}
    done = run("split", documents, "-o", out, "--max-tokens", 16, "-m", model, "--json")
    figures = {"texts": 2, "cut": 1, "passages": 4, "max_tokens": 16}
    assert json.loads(done.out) == {"out": str(out), **figures}


def test_files_of_other_kinds_are_counted(run: Callable, model: Path, tmp_path: Path) -> None:
    for name in ("a.txt", "b.docx", "c.DOCX", "LICENSE"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("头痛", encoding="utf-8")
    done = run("split", tmp_path / "in", "--files", "-o", tmp_path / "o.jsonl", "-m", model)
    assert done.code == 0
    assert "left out: 3 other files (2 .docx, 1 no ending); .txt and .md are read" in done.err
    for _ in range(2):  # what was made there before is no input
        out = tmp_path / "in" / "parts.jsonl"
        assert run("split", tmp_path / "in", "--files", "-o", out, "-m", model).code == 0


def test_a_folder_of_files(run: Callable, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "指南"
    (folder / "内科").mkdir(parents=True)
    (folder / "内科" / "高血压.md").write_text(LONG, encoding="utf-8")
    (folder / "咳嗽.txt").write_text("咳嗽\n", encoding="utf-8")
    out = tmp_path / "passages.jsonl"
    done = run("split", folder, "--files", "-o", out, "--max-tokens", 16, "-m", model)
    assert done.code == 0, done.err
    ids = [passage.id for passage in open_passages(out)]
    assert ids == ["内科/高血压#1", "内科/高血压#2", "内科/高血压#3", "咳嗽"]


def test_lines_of_standard_input(run: Callable, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "passages.jsonl"
    text = f"{LONG}\n咳嗽\n".encode()
    done = run("split", "-", "-o", out, "--max-tokens", 16, "-m", model, stdin=text)
    assert done.code == 0, done.err
    assert [passage.id for passage in open_passages(out)] == ["1#1", "1#2", "1#3", "2"]


def test_a_search_finds_each_text_once(
    run: Callable, documents: Path, model: Path, tmp_path: Path
) -> None:
    out, index = tmp_path / "passages.jsonl", tmp_path / "index"
    run("split", documents, "-o", out, "--max-tokens", 16, "-m", model)
    run("index", out, "--to", index, "-m", model, "--precision", "fp32")
    asked = ("search", "-i", index, "--precision", "fp32", "--json", "头痛吃什么药")
    every, once = (json.loads(run(*asked, *more).out) for more in ((), ("--by-document",)))
    assert len(every) == 4
    texts = [hit["id"].partition("#")[0] for hit in every]
    assert once == [every[texts.index(text)] for text in dict.fromkeys(texts)]


def test_an_index_cuts_by_itself(
    run: Callable, documents: Path, model: Path, tmp_path: Path
) -> None:
    index, options = tmp_path / "index", ("-m", model, "--precision", "fp32")
    cut = ("--part-tokens", 16, "--whole-share", 0.5)
    done = run("index", documents, "--to", index, *options, *cut)
    assert done.code == 0, done.err
    assert "4 parts of at most 16 tokens, exact" in done.out
    asked = ("search", "-i", index, "--precision", "fp32", "--json", "头痛吃什么药")
    once, every = (json.loads(run(*asked, *more).out) for more in ((), ("--every-part",)))
    assert (len(once), len(every)) == (2, 4)
    assert once[0] == every[0]
    other = run("index", documents, "--to", index, *options, "--part-tokens", 16)
    assert other.refuses("whole_share: 0.0 != 0.5", code=1)
    for wrong, said in (
        (("--whole-share", 0.5), "belongs to --part-tokens"),
        (("--part-tokens", 8), "from 16 to 512"),
        (("--part-tokens", 300), "reads only 128"),
        (("--part-tokens", 16, "--whole-share", 1), "from 0 to below 1"),
    ):
        assert run("index", documents, "--to", tmp_path / "no", *options, *wrong).refuses(said)
    parts = tmp_path / "parts.jsonl"
    run("split", documents, "-o", parts, "--max-tokens", 16, "-m", model)
    done = run("index", parts, "--to", tmp_path / "no", *options, "--part-tokens", 16)
    assert done.refuses("'7#1' ends like that of a part")
    assert not (tmp_path / "no").exists()


def test_a_remark_where_the_model_reads_less(
    run: Callable, documents: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "passages.jsonl"
    asked = ("split", documents, "-o", out, "-m", model, "--max-tokens")
    assert run(*asked, 128).err == ""
    assert "reads 128 tokens, unless corom index is told --max-length 200" in run(*asked, 200).err


def test_refused(run: Callable, documents: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "passages.tsv"
    done = run("split", documents, "-o", out, "-m", model)
    assert (done.code, out.exists()) == (2, False)
    assert "name it .jsonl" in done.err
    out = tmp_path / "passages.jsonl"
    done = run("split", documents, "-o", out, "-m", model, "--max-tokens", 8)
    assert (done.code, out.exists()) == (2, False)
    assert "from 16 to 512" in done.err
    parts = tmp_path / "parts.jsonl"
    run("split", documents, "-o", parts, "--max-tokens", 16, "-m", model)
    done = run("split", parts, "-o", out, "-m", model)
    assert (done.code, out.exists()) == (2, False)
    assert "'7#1' ends like that of a part" in done.err
    before = documents.read_bytes()
    done = run("split", documents, "-o", documents, "-m", model)
    assert (done.code, documents.read_bytes()) == (2, before)
    assert "is the input itself" in done.err
    assert run("split", tmp_path, "-o", out, "-m", model).refuses("give --files")
    (tmp_path / "empty").mkdir()
    done = run("split", tmp_path / "empty", "--files", "-o", out, "-m", model)
    assert done.refuses("holds no .txt or .md file")
