"""index, search, and doctor --index."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from corom.cli import main
from corom.encoder import Encoder
from corom.index import VectorIndex, open_index

TEXTS = ["糖尿病饮食治疗", "头痛发热", "高血压患者注意休息。不要吃药！", "咳嗽"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.tsv"
    lines = (f"p{n}\t{text}\n" for n, text in enumerate(TEXTS))
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def index(run: Callable, corpus: Path, model: Path, tmp_path: Path) -> Path:
    done = run("index", corpus, "--to", tmp_path / "ix", "-m", model, "--precision", "fp32")
    assert done.code == 0
    assert done.out == f"{tmp_path / 'ix'}: 4 passages, exact, {model}\n"
    assert "4 texts in" in done.err
    return tmp_path / "ix"


def search(run: Callable, index: Path, *arguments: object, **options: bytes) -> list:
    done = run("search", "-i", index, "--precision", "fp32", "--json", *arguments, **options)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_hits_are_those_of_the_vectors(run: Callable, index: Path, model: Path) -> None:
    encoder = Encoder.load(model, precision="fp32")
    scores = encoder.encode_passages(TEXTS) @ encoder.encode_queries(["糖尿病"])[0]
    [hits] = search(run, index, "糖尿病")
    assert [hit["id"] for hit in hits] == [f"p{row}" for row in np.argsort(-scores)]
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), rel=1e-4)
    assert {hit["text"] for hit in hits} == set(TEXTS)
    assert search(run, index, "糖尿病", "-k", 2) == [hits[:2]]


def test_an_index_that_is_there_is_kept_and_another_is_refused(
    run: Callable, index: Path, corpus: Path, model: Path
) -> None:
    before = (index / "manifest.json").read_bytes()
    done = run("index", corpus, "--to", index, "-m", model, "--precision", "fp32", "--json")
    assert json.loads(done.out)["passages"] == 4
    assert (index / "manifest.json").read_bytes() == before
    with corpus.open("a", encoding="utf-8") as file:
        file.write("p4\t肝\n")
    other = run("index", corpus, "--to", index, "-m", model)
    assert other.refuses("something else (source", code=1)
    options = ("--normalize", "--dim", 16, "--store", "float16", "--scan", "int8")
    to = index.with_name("other")
    assert run("index", corpus, "--to", to, "-m", model, *options).code == 0
    found = open_index(to)
    assert isinstance(found, VectorIndex)
    assert (found.spec.normalized, found.spec.dim, found.spec.vector_type) == (True, 16, "float16")
    [hits] = search(run, to, "糖尿病")
    assert len(hits) == 5
    assert abs(hits[0]["score"]) <= 1.001


def test_an_index_follows_its_corpus(
    run: Callable, corpus: Path, model: Path, tmp_path: Path
) -> None:
    for options in (("-m", model, "--precision", "fp32"), ("-m", "bm25")):
        corpus.write_text("1\t糖尿病饮食\n2\t头痛发热\n3\t咳嗽\n", encoding="utf-8")
        to = tmp_path / f"ix-{len(options)}"
        command = ("index", corpus, "--to", to, *options, "--update")
        assert run(*command).out.startswith(f"{to}: 3 passages, ")
        corpus.write_text("3\t咳嗽\n2\t头痛\n4\t失眠\n", encoding="utf-8")
        done = run(*command)
        assert done.code == 0
        assert done.out == f"{to}: 1 added, 1 changed, 1 removed, 1 as they were\n"
        assert ("2 texts in" in done.err) == (options[1] is model)
        found = json.loads(run(*command, "--json").out)
        assert found.pop("seconds") >= 0
        assert found == {"index": str(to), "added": 0, "changed": 0, "removed": 0, "kept": 3}
        assert run(*command[:-1]).out.startswith(f"{to}: 3 passages, ")  # it is finished
        corpus.write_text("", encoding="utf-8")
        assert "holds no passages" in run(*command).err
        assert len(open_index(to)) == 3


def test_what_cannot_be_updated(run: Callable, corpus: Path, index: Path, tmp_path: Path) -> None:
    other = run("index", corpus, "--to", index, "-m", "bm25", "--update")
    assert other.refuses("something else (options", code=1)
    server = run("index", corpus, "--to", "milvus:///x.db/y", "-m", "bm25", "--update")
    assert server.refuses("for an index in a folder")
    shards = tmp_path / "shards"
    assert run("encode", corpus, "--out", shards).code == 0
    for flags in ("--update",), ("--dim", 16), ("--no-normalize",), ("-m", "bm25"):
        assert run("index", shards, "--to", index, *flags).refuses("not for shards of vectors")


def test_a_corpus_is_no_standard_input(run: Callable, tmp_path: Path) -> None:
    done = run("index", "-", "--to", tmp_path / "ix", "-m", "bm25", stdin="头痛\n".encode())
    assert done.refuses("write it to a file")
    assert not (tmp_path / "ix").exists()


def test_another_model_or_length_is_refused(run: Callable, index: Path, corpus: Path) -> None:
    for wrong in (("-m", "corom-medical"), ("--max-length", 64)):
        done = run("search", "-i", index, "头痛", *wrong)
        assert done.code == 1
        assert "fingerprint" in done.err or "was made with" in done.err
        assert "头痛" not in done.err
    to = index.with_name("short")
    model = open_index(index).spec.model
    assert run("index", corpus, "--to", to, "-m", model, "--max-length", 8).code == 0
    assert run("search", "-i", to, "头痛", "--max-length", 8).code == 0


def test_a_reranker_reads_the_first_hits(
    run: Callable, index: Path, tiny_reranker: Path, model: Path
) -> None:
    asked = ("search", "糖尿病吃什么药", "--index", index, "-k", 3, "--json")
    plain = json.loads(run(*asked).out)
    done = run(*asked, "--rerank", tiny_reranker, "--rerank-depth", 3, "--rerank-share", 1)
    found = json.loads(done.out)
    assert {hit["id"] for hit in found} == {hit["id"] for hit in plain}
    texts = [hit["text"] for hit in plain]
    for share in ((), ("--rerank-share", 1)):
        reranked = run(*asked, "--rerank", tiny_reranker, "--rerank-depth", 3, *share)
        found = json.loads(reranked.out)
        to_rank = ("rank", "糖尿病吃什么药", *texts, "--reranker", tiny_reranker, "--json", *share)
        given = ("-m", model) if not share else ()
        ranked = json.loads(run(*to_rank, *given).out)
        assert [hit["text"] for hit in found] == [one["text"] for one in ranked]
        assert json.loads(run(*to_rank, *given, "-k", 1).out) == ranked[:1]
        assert run(*to_rank, *given, "-k", 0).code == 2
    done = run("rank", "糖尿病", *texts, "--rerank-share", 0.5)
    assert done.refuses("--rerank-share belongs to --reranker")
    assert run(*asked, "--rerank", tiny_reranker, "--rerank-share", 0).code == 2


def test_words_and_both_together(run: Callable, index: Path, corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("tantivy")
    pytest.importorskip("rjieba")
    words = tmp_path / "words"
    assert run("index", corpus, "--to", words, "-m", "bm25").out.endswith(", bm25, bm25\n")
    [hits] = search(run, words, "高血压不要吃什么")
    assert [hit["id"] for hit in hits] == ["p2"]
    assert search(run, words, "肝") == [[]]
    assert "nothing found" in run("search", "-i", words, "肝").out
    [both] = search(run, index, "高血压", "--words", words)
    assert len(both) == 4
    assert [both] == search(
        run, index, "高血压", "--words", words, "--fusion", "weighted", "--weight", 0.8
    )
    assert [both] != search(run, index, "高血压", "--words", words, "--fusion", "rrf")
    [weighted] = search(run, index, "高血压", "--words", words, "--weight", 0)
    assert weighted[0] == {"id": "p2", "score": 1.0, "text": TEXTS[2], "title": "", "fields": {}}
    assert run("search", "-i", words, "头痛", "--words", words).code == 2
    assert run("search", "-i", index, "头痛", "--words", index).code == 2


def test_queries_from_files_and_from_whoever_types(
    run: Callable, index: Path, tmp_path: Path
) -> None:
    path = tmp_path / "q.tsv"
    path.write_text("q7\t头痛\nq8\t咳嗽\n", encoding="utf-8")
    one, two = search(run, index, "-f", path, "-k", 1)
    assert (one["query_id"], two["query_id"]) == ("q7", "q8")
    assert [[hit["id"] for hit in each["hits"]] for each in (one, two)] == [
        [each[0]["id"]] for each in search(run, index, "头痛", "咳嗽", "-k", 1)
    ]
    (piped,) = search(run, index, "-f", "-", "-k", 1, stdin="头痛\n".encode())
    [hit], [other] = piped.pop("hits"), one["hits"]
    assert piped == {"query_id": "1"}
    # Alone a query's vector is that beside others to 1e-5, not to the last bit on every chip.
    assert hit == {**other, "score": pytest.approx(other["score"], rel=1e-5)}
    typed = search(run, index, "-k", 1, stdin="头痛\n\n咳嗽\n".encode())
    assert [hits[0]["id"] for hits in typed] == [each["hits"][0]["id"] for each in (one, two)]
    assert search(run, index, stdin=b"") == []
    assert run("search", "-i", index, "头痛", "-f", path).code == 2
    assert run("search", "-i", index, "头痛", "-k", 0).code == 2


def test_what_answers_is_marked_on_a_screen_only(
    run: Callable, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("search", "-i", index, "高血压", "--precision", "fp32")
    plain = run(*arguments).out
    assert "\x1b" not in plain
    assert f"[p2]  {TEXTS[2]}" in plain
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    marked = run(*arguments).out
    assert "\x1b[1m" in marked  # bold: the words
    assert "\x1b[4m" in marked  # underlined: the sentence


def test_a_hit_is_a_line_whatever_its_texts_hold(run: Callable, tmp_path: Path) -> None:
    pytest.importorskip("tantivy")
    corpus, queries = tmp_path / "c.jsonl", tmp_path / "q.jsonl"
    corpus.write_text(json.dumps({"id": "a", "title": "标题\n二", "text": "头痛\nct\tmri"}))
    queries.write_text(json.dumps({"id": "q", "text": "头痛\n怎么办"}))
    assert run("index", corpus, "--to", tmp_path / "ix", "-m", "bm25").code == 0
    asked, hit = run("search", "-i", tmp_path / "ix", "-f", queries).out.splitlines()[1:]
    assert asked == "q  头痛 怎么办"
    assert hit.endswith("[a]  标题 二  头痛 ct mri")


def test_an_index_that_is_not_there_or_broken(run: Callable, index: Path, tmp_path: Path) -> None:
    assert run("search", "-i", tmp_path / "none", "头痛").refuses("holds no index", code=1)
    assert "everything is in order" in run("doctor", "-i", index).out
    broken = next(path for path in sorted(index.iterdir()) if path.suffix == ".npy")
    data = bytearray(broken.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(data)
    for command in (("search", "头痛"), ("doctor",)):
        done = run(*command, "-i", index)
        assert done.code == 1
        assert broken.name in done.out + done.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--fusion", "rrf"], "--fusion and --weight belong to --words"),
        (["--weight", "0.5"], "--fusion and --weight belong to --words"),
        (
            ["--words", "x", "--fusion", "rrf", "--weight", "0.5"],
            "--weight belongs to --fusion weighted",
        ),
        (["--rerank-depth", "5"], "belong to --rerank"),
        (["--rerank-share", "0.5"], "belong to --rerank"),
        ([" "], "a query is empty"),
    ],
)
def test_flags_that_would_do_nothing(run: Callable, index: Path, flags: list, said: str) -> None:
    assert run("search", "头痛", *flags, "-i", index).refuses(said)


def test_a_model_that_has_moved(run: Callable, index: Path, model: Path, tmp_path: Path) -> None:
    model.rename(tmp_path / "moved")
    assert run("search", "头痛", "-i", index).refuses("--model says where", code=1)
    assert run("search", "头痛", "-i", index, "-m", tmp_path / "moved").code == 0


def test_wrong_choices(run: Callable, corpus: Path, model: Path, tmp_path: Path) -> None:
    to = ("--to", tmp_path / "x", "-m", model)
    assert run("index", corpus, *to, "--kind", "hnsw", "--scan", "int8").code == 2
    assert run("index", tmp_path / "none.tsv", *to).code == 2
    (tmp_path / "x").mkdir(exist_ok=True)
    (tmp_path / "x" / "mine.txt").write_text("keep")
    assert run("index", corpus, *to).code == 1
    assert (tmp_path / "x" / "mine.txt").read_text() == "keep"


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_a_terminal_writes_as_it_says(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = io.BytesIO("高血压\n".encode("gb18030"))
    monkeypatch.setattr(sys, "stdin", Terminal(typed, encoding="gb18030"))
    assert main(["search", "-i", str(index), "--precision", "fp32", "-k", "1"]) == 0
    assert capsys.readouterr().out.startswith("\n高血压\n  1  ")
    typed = io.BytesIO("高血压\n".encode("gb18030"))
    monkeypatch.setattr(sys, "stdin", Terminal(typed, encoding="utf-8"))
    assert main(["search", "-i", str(index)]) == 2
    assert "line 1: is not utf-8, which the terminal" in capsys.readouterr().err


def test_typed_lines_must_be_utf8(run: Callable, index: Path) -> None:
    done = run("search", "-i", index, stdin="头痛\n".encode() + "高血压\n".encode("gbk"))
    assert done.refuses("line 2: is not UTF-8")


def test_more_numbers_than_the_model_gives(
    run: Callable, corpus: Path, model: Path, tmp_path: Path
) -> None:
    done = run("index", corpus, "--to", tmp_path / "new", "-m", model, "--dim", 33)
    assert done.refuses("--dim 33 is more than the 32")
    assert not (tmp_path / "new").exists()


def test_of_a_long_text_the_first_sentences_are_read(
    run: Callable, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.tsv").write_text(f"1\t{'糖尿病。' * 40}高血压。\n2\t头痛。\n", encoding="utf-8")
    assert run("index", tmp_path / "c.tsv", "--to", tmp_path / "x", "-m", model).code == 0
    read: list[str] = []
    encode = Encoder.encode_passages
    monkeypatch.setattr(
        Encoder,
        "encode_passages",
        lambda self, texts, **options: encode(self, read.extend(texts) or read, **options),
    )
    done = run("search", "-i", tmp_path / "x", "高血压")
    assert (done.code, sorted(read)) == (0, sorted(["糖尿病。"] * 32 + ["头痛。"]))
