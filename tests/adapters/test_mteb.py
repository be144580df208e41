"""The adapter by itself, and (`make test-mteb`) in MTEB's own offline mock tasks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom.adapters.mteb import MtebEncoder
from corom.encoder import Encoder
from corom.errors import InputError

needs_mteb = pytest.mark.skipif(
    importlib.util.find_spec("mteb") is None, reason="needs mteb: run `make test-mteb`"
)
TEXTS = ["糖尿病吃什么药", "高血压患者注意休息", "头痛"]
CALL: dict[str, Any] = {"task_metadata": None, "hf_split": "dev", "hf_subset": "default"}


@pytest.fixture
def model(tiny_checkpoint) -> MtebEncoder:
    folder = tiny_checkpoint(query_prefix="问", normalize=True).folder
    return MtebEncoder(str(folder), None, precision="fp32")


def test_queries_and_documents_are_encoded_as_such(model: MtebEncoder) -> None:
    batches = [{"text": TEXTS[:2]}, {"text": TEXTS[2:], "id": ["3"]}]
    queries = model.encode(batches, prompt_type="query", batch_size=1, **CALL)
    documents = model.encode(batches, prompt_type="document", **CALL)
    encoder = Encoder.load(model.encoder.name, precision="fp32")
    np.testing.assert_allclose(queries, encoder.encode_queries(TEXTS), atol=1e-6)
    np.testing.assert_allclose(documents, encoder.encode_passages(TEXTS), atol=1e-6)
    assert not np.allclose(queries, documents)
    np.testing.assert_array_equal(model.encode(batches, **CALL), queries)


def test_no_text_gives_no_vector(model: MtebEncoder) -> None:
    assert model.encode([], **CALL).shape == (0, model.encoder.dim)


def test_other_output_and_unknown_options_are_refused(model: MtebEncoder) -> None:
    with pytest.raises(InputError, match="binary"):
        model.encode([], precision="binary", **CALL)
    with pytest.raises(TypeError):
        model.encode([], truncate=3, **CALL)
    with pytest.raises(TypeError):
        MtebEncoder(model.encoder.name, None, dtype="half")


def test_similarity_is_the_dot_product_of_rows(model: MtebEncoder) -> None:
    pytest.importorskip("torch")
    left, right = np.eye(3, dtype=np.float32), np.arange(9, dtype=np.float64).reshape(3, 3)
    np.testing.assert_array_equal(model.similarity(left, right), right.T)
    np.testing.assert_array_equal(model.similarity_pairwise(left, right), [0, 4, 8])
    assert model.similarity(left[0], right[1]).tolist() == [[3]]


@needs_mteb
def test_every_text_task_of_mteb_runs(model: MtebEncoder, tmp_path: Path, monkeypatch) -> None:
    import mteb
    from mteb.models.models_protocols import EncoderProtocol
    from mteb.results.task_result import TaskResult

    monkeypatch.chdir(tmp_path)
    assert isinstance(model, EncoderProtocol)
    found = mteb.mock_run(model)
    ran = {name: status for name, status in found.items() if status is not None}
    failed = {n: s for n, s in ran.items() if not isinstance(s, TaskResult)}
    assert not failed
    assert {"MockRetrievalTask", "MockRerankingTask"} <= set(ran)


@needs_mteb
def test_mteb_measures_what_corom_measures(model: MtebEncoder) -> None:
    """MTEB's figures of its mock retrieval are those of corom's own ranking."""
    import mteb
    from mteb.mocks import ALL_MOCK_TASK_TEST_GRID

    from corom.metrics import evaluate_run
    from corom.records import Passage, Qrel
    from corom.similarity import rank_passages

    task = next(t for t in ALL_MOCK_TASK_TEST_GRID if t.metadata.name == "MockRetrievalTask")
    (result,) = mteb.evaluate(model, [task], cache=None, show_progress_bar=False).task_results
    task.load_data()
    data = task.dataset["default"]["test"]
    passages = [Passage(row["id"], row["text"], row.get("title") or "") for row in data["corpus"]]
    run = {
        row["id"]: rank_passages(model.encoder, row["text"], passages) for row in data["queries"]
    }
    qrels = [
        Qrel(query, passage, grade)
        for query, grades in data["relevant_docs"].items()
        for passage, grade in grades.items()
    ]
    own = evaluate_run(run, qrels, measures=["nDCG@10"]).means["nDCG@10"]
    assert result.scores["test"][0]["ndcg_at_10"] == pytest.approx(own, abs=1e-5)
