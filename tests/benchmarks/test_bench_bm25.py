"""The benchmark of BM25: corom's side of it, on a tiny data set."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tantivy")
pytest.importorskip("rjieba")

import bench_bm25


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "corpus.tsv").write_text("1\t糖尿病吃什么药\n2\t头痛发热\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("engine", ["corom", "corom, bigrams"])
def test_an_engine_builds_and_answers(data: Path, tmp_path: Path, engine: str) -> None:
    built = bench_bm25.build(engine, data, tmp_path / "index")
    assert built["seconds"] > 0
    assert built["disk_mb"] >= 0
    assert built["memory_mb"]["peak"] >= built["memory_mb"]["own"]
    server = bench_bm25.Server(engine, tmp_path / "index")
    assert server.start_seconds > 0
    assert server.ask(["糖尿病", "头痛"], 10)["seconds"] > 0
    assert len(server.ask(["糖尿病", "头痛", ""], 1, alone=True)["seconds"]) == 3
    server.close()


def test_an_engine_that_dies_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="the engine ended with 1"):
        bench_bm25.Server("corom", tmp_path / "none")
    assert "holds no index" in capfd.readouterr().err
