import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import encode_worker
from corom.models.config import Shape
from encode_backends import backend
from encode_report import (
    Once,
    Round,
    Timing,
    Work,
    format_rest,
    format_speed,
    needed_operations,
    peak_shares,
    ratio,
    speed_table,
)


def timing(passages, *, queries=1.0, peak=None):
    return Timing(
        passages=passages, queries=queries, p50=0.01, p99=0.02, peak=peak or {}, peak_mb=100
    )


def rounds(*pairs):
    return [
        Round(
            order=["st", "ours"],
            load=2.0,
            timings={"st": timing(st), "ours": timing(ours, peak={"int8": 100.0})},
        )
        for st, ours in pairs
    ]


def product(rows, inner, columns):
    return 2 * rows * inner * columns


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("n", [2, 128])
def test_needed_operations_are_those_of_the_matrix_products(layers, n):
    shape = Shape(layers=layers, hidden=8, heads=2, intermediate=20, vocabulary=9)
    per_head = product(n, 4, n) + product(n, n, 4)
    full = 4 * product(n, 8, 8) + product(n, 8, 20) + product(n, 20, 8) + 2 * per_head
    keys_and_values = 2 * product(n, 8, 8)
    of_cls = 2 * product(1, 8, 8) + product(1, 8, 20) + product(1, 20, 8)
    attention = 2 * (product(1, 4, n) + product(1, n, 4))
    expected = (layers - 1) * full + keys_and_values + of_cls + attention
    assert needed_operations(shape, [n]) == expected
    assert needed_operations(shape, [n, n]) == 2 * expected
    assert needed_operations(shape, []) == 0


def test_ratio_is_paired_by_round():
    # The second round met a busy machine: both took ten times as long.
    found = ratio(rounds((10, 2), (100, 20), (9, 3)), "ours", reference="st", of="passages")
    assert found == (5, 3, 5, 4.5)


def test_ratio_leaves_out_rounds_one_of_them_missed():
    some = rounds((10, 2), (100, 1))
    del some[1].timings["st"]
    assert ratio(some, "ours", reference="st", of="passages") == (5, 5, 5, 5)


def test_peak_share_is_work_per_second_over_the_peak_of_its_precision():
    load = Work(tokens=10, operations=50.0)
    some = rounds((1, 1.0), (1, 2.0))
    assert peak_shares(some, "ours", work=load, of="passages", precision="int8") == [0.5, 0.25]
    assert peak_shares(some, "ours", work=load, of="passages", precision="bf16") == []


def test_tables():
    once = {
        name: Once(precision=kind, load_seconds=1, cold_seconds=cold)
        for name, kind, cold in (("st", "fp32", []), ("ours", "int8", [1.0, 3.0]))
    }
    load = (Work(tokens=100, operations=50.0), Work(tokens=10, operations=5.0))
    rows = speed_table(
        rounds((4, 1)),
        once,
        names=["st", "ours", "ours-too"],
        reference="st",
        work={"st": load, "ours": load},
    )
    assert [row["name"] for row in rows] == ["st", "ours"]
    assert rows[1]["passages"]["median"] == 4
    assert rows[1]["passages"]["best_tokens_per_second"] == 100
    assert rows[1]["queries"]["median_peak_share"] == 0.05
    assert rows[0]["passages"]["median_peak_share"] is None
    assert "50%" in format_speed(rows)
    assert "2.00" in format_rest(rows, once)
    json.dumps(rows, allow_nan=False)


def ask(process, **request):
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def test_worker_answers_and_survives_errors(tiny_checkpoint, tmp_path):
    worker = [sys.executable, encode_worker.__file__, "--backend", "corom-fp32"]
    with subprocess.Popen(
        [*worker, "--model", str(tiny_checkpoint().folder), "--threads", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert "error" in ask(process, do="encode", side="query", texts=["头痛"])
        assert ask(process, do="load")["precision"] == "fp32"
        texts = ["头痛", "糖尿病饮食"]
        assert ask(process, do="encode", side="passage", texts=texts)["seconds"] > 0
        assert len(ask(process, do="each", side="query", texts=texts)["seconds"]) == 2
        assert "KeyError" in ask(process, do="encode", side="neither", texts=texts)["error"]
        path = tmp_path / "vectors.npy"
        ask(process, do="vectors", side="query", texts=texts, path=str(path))
        assert np.load(path, allow_pickle=False).shape == (2, 32)
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_peer_on_openvino_cannot_tell_that_it_is_used(monkeypatch):
    pytest.importorskip("torch")
    met = []

    def made(*_, **__):
        met.append(sys.modules["openvino_telemetry"])
        return SimpleNamespace()

    monkeypatch.setitem(sys.modules, "openvino_telemetry", SimpleNamespace())
    fake = SimpleNamespace(SentenceTransformer=made)
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    encode_worker.load(backend("st-openvino"), "", threads=1)
    assert met == [None]
