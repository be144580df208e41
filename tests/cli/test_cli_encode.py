from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from corom.encoder import Encoder

TEXTS = ["糖尿病饮食", "头痛发热", "高血压", "高血压", "x" * 900, "ct mri"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def test_npy_and_ids(run: Callable, model: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "vectors.npy"
    done = run("encode", source, "-o", out, "-m", model, "--precision", "fp32")
    assert done.code == 0
    assert done.out == f"{out}: 6 x 32 float32\n"
    assert "6 texts in" in done.err
    assert "0 longer than 128 tokens" in done.err
    vectors = np.load(out, allow_pickle=False)
    expected = Encoder.load(model, precision="fp32").encode_passages(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert out.with_suffix(".ids.txt").read_text() == "1\n2\n3\n4\n5\n6\n"
    assert {path.name for path in out.parent.iterdir()} == {"vectors.npy", "vectors.ids.txt"}


def test_jsonl_gives_the_same_float32(
    run: Callable, model: Path, source: Path, tmp_path: Path
) -> None:
    for name in ("v.npy", "v.jsonl"):
        options = ("-m", model, "--precision", "fp32", "--as", "query", "--normalize")
        assert run("encode", source, "-o", tmp_path / name, *options).code == 0
    lines = (tmp_path / "v.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["id"] for record in records] == list("123456")
    vectors = np.array([record["vector"] for record in records], np.float32)
    np.testing.assert_array_equal(vectors, np.load(tmp_path / "v.npy"))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_options_and_figures(run: Callable, model: Path, tmp_path: Path) -> None:
    source = tmp_path / "passages.jsonl"
    rows = [{"id": "p7", "text": "饮食", "title": "糖尿病"}, {"id": "中", "text": "头痛" * 40}]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    options = ("--dim", 8, "--max-length", 16, "--precision", "fp32", "--threads", 1, "--json")
    done = run("encode", source, "-o", tmp_path / "v.npy", "-m", model, *options)
    figures = json.loads(done.out)
    assert (figures["shape"], figures["texts"], figures["truncated"]) == ([2, 8], 2, 1)
    assert figures["tokens"] == 7 + 16
    assert done.err == ""
    assert (tmp_path / "v.ids.txt").read_text("utf-8") == "p7\n中\n"
    encoder = Encoder.load(model, precision="fp32", max_length=16)
    expected = encoder.encode_passages(["糖尿病 饮食", "头痛" * 40], truncate_dim=8)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-5)


def test_standard_input_and_nothing_at_all(run: Callable, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.npy"
    done = run("encode", "-", "-o", out, "-m", model, stdin="头痛\r\n发热\n".encode())
    assert done.code == 0
    assert np.load(out).shape == (2, 32)
    assert run("encode", "-", "-o", out, "-m", model, stdin=b"").out == f"{out}: 0 x 32 float32\n"
    assert np.load(out).shape == (0, 32)
    assert out.with_suffix(".ids.txt").read_text() == ""


@pytest.mark.parametrize(("stdin", "what"), [(b"a\n\n", "empty text"), (b"a\n\xff\n", "UTF-8")])
def test_bad_lines_of_standard_input(
    run: Callable, model: Path, tmp_path: Path, stdin: bytes, what: str
) -> None:
    done = run("encode", "-", "-o", tmp_path / "v.npy", "-m", model, stdin=stdin)
    assert done.refuses("standard input, line 2")
    assert what in done.err
    assert not (tmp_path / "v.npy").exists()


def test_a_bad_line_far_down_stops_before_the_work(
    run: Callable, source: Path, tmp_path: Path
) -> None:
    with source.open("ab") as file:
        file.write(b"\xff\n")
    out = tmp_path / "v.npy"
    # The model does not exist: had it been looked for, the error would be another.
    assert run("encode", source, "-o", out, "-m", tmp_path / "none").refuses("line 7")


def test_what_is_there_stays_when_encoding_fails(
    run: Callable, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "v.npy"
    assert run("encode", "-", "-o", out, "-m", model, stdin=b"a\n").code == 0
    before = out.read_bytes(), out.with_suffix(".ids.txt").read_bytes()
    source = tmp_path / "p.jsonl"
    source.write_text(json.dumps({"id": "a\nb", "text": "c"}))
    assert run("encode", source, "-o", out, "-m", model).refuses("line break")
    assert (out.read_bytes(), out.with_suffix(".ids.txt").read_bytes()) == before
    assert len(list(tmp_path.glob(".*"))) == 0


def test_an_output_of_unknown_kind_is_refused(
    run: Callable, model: Path, source: Path, tmp_path: Path
) -> None:
    assert run("encode", source, "-o", tmp_path / "v.csv", "-m", model).refuses(".npy or .jsonl")


def test_flags_of_shards_are_refused_for_a_file(
    run: Callable, source: Path, tmp_path: Path
) -> None:
    for flags in ("--workers", 0), ("--ray",), ("--shard-rows", 2):
        assert run("encode", source, "-o", tmp_path / "v.npy", *flags).refuses("is one file")


@pytest.mark.parametrize("name", ["texts.txt", "notes.ids.txt", "link.jsonl"])
def test_the_input_is_not_overwritten(
    run: Callable, model: Path, source: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "notes.ids.txt")
    given = tmp_path / "notes.ids.txt"
    source.rename(given)
    out = {"texts.txt": "notes.npy", "notes.ids.txt": "notes.npy"}.get(name, name)
    assert run("encode", given, "-o", tmp_path / out, "-m", model).refuses("is the input itself")
    assert given.read_text(encoding="utf-8").splitlines() == TEXTS


def test_a_place_that_cannot_be_written_is_said_first(
    run: Callable, model: Path, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "v.ids.txt").mkdir()
    done = run("encode", source, "-o", tmp_path / "v.npy", "-m", model)
    assert done.refuses("v.ids.txt is a folder")
    assert not (tmp_path / "v.npy").exists()
    done = run("encode", source, "-o", source / "v.npy", "-m", model)
    assert done.refuses("texts.txt is no folder")


def test_a_disk_that_is_full_at_the_end_leaves_what_was_there(
    run: Callable, model: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "v.npy"
    assert run("encode", source, "-o", out, "-m", model).code == 0
    before = [(tmp_path / name).read_bytes() for name in ("v.npy", "v.ids.txt")]
    source.write_text("头痛\n", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert run("encode", source, "-o", out, "-m", model).refuses("No space left on device", code=1)
    assert [(tmp_path / name).read_bytes() for name in ("v.npy", "v.ids.txt")] == before


def test_vectors_that_are_there_have_their_own_ids(
    run: Callable, model: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop at every rename: what a kill there leaves is no vectors, or those of the ids."""
    out, other = tmp_path / "v.npy", tmp_path / "other.txt"
    other.write_text("头痛\n", encoding="utf-8")
    for stop in (1, 2):
        assert run("encode", source, "-o", out, "-m", model).code == 0
        renames = iter(range(1, 10))

        def replace(path: Path, target: Path, renames=renames, stop=stop) -> None:
            if next(renames) == stop:
                raise OSError("stopped here")
            path.rename(target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", replace)
            assert run("encode", other, "-o", out, "-m", model).code == 1
        assert not out.exists()
        assert len((tmp_path / "v.ids.txt").read_text().splitlines()) == (6 if stop == 1 else 1)
