from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from accelerate import Accelerator

from corom.errors import ArtifactError, InputError
from corom.training import pretrain, train, train_reranker
from corom.training.checks import check_data
from corom.training.settings import PretrainSettings, RerankerSettings, TrainSettings
from corom.training.tables import from_table, merged

pytestmark = pytest.mark.torch


@pytest.fixture
def small(tiny_checkpoint, tiny_shape):
    """A model of 64 positions."""
    return tiny_checkpoint(shape=replace(tiny_shape, positions=64), name="small", max_length=64)


@pytest.fixture
def refused(tmp_path, pairs):
    """Begin a run with these settings: it must be refused by this message, nothing written."""

    def begin(run, kind, model, message, **changes):
        table = {
            "model": str(model.folder),
            "output": str(tmp_path / "run"),
            "run": {"device": "cpu", "precision": "fp32"},
        }
        own = {"data": {"train": [str(pairs)]}}
        if kind is PretrainSettings:
            own = {"texts": [str(pairs)]}
        with pytest.raises((InputError, ArtifactError), match=message):
            run(from_table(kind, merged({**table, **own}, changes)))
        assert not (tmp_path / "run").exists()

    return begin


def test_texts_longer_than_the_model_has_positions_are_refused(refused, small):
    default = r"data\.query_length is 128, more than the 64 positions of .*small; set it to 64"
    refused(train, TrainSettings, small, default)
    shorter = {"data": {"query_length": 64}}
    refused(train, TrainSettings, small, r"data\.passage_length is 128, more", **shorter)
    refused(train_reranker, RerankerSettings, small, "max_length is 256, more than the 64 pos")
    refused(pretrain, PretrainSettings, small, "span_length is 600, more", span_length=600)


@pytest.mark.parametrize(
    ("dev", "message"),
    [
        ({"measure": "Foo@10"}, r"dev: unknown measure 'Foo@10'"),
        ({"queries": "test"}, r"dev\.folder: .*medical has no split 'test'; there are"),
        ({"folder": "none"}, r"dev\.folder: none does not exist"),
    ],
)
def test_a_dev_set_that_cannot_be_measured_is_refused(
    refused, tiny_checkpoint, dataset, pairs, dev, message
):
    model, dev = tiny_checkpoint(), {"folder": str(dataset), **dev}
    refused(train, TrainSettings, model, message, dev=dev)
    refused(pretrain, PretrainSettings, model, message, dev=dev)
    refused(train_reranker, RerankerSettings, model, message, dev={**dev, "run": str(pairs)})


def test_a_teacher_that_cannot_be_imitated_is_refused(
    refused, tiny_checkpoint, tiny_shape, tiny_reranker
):
    model = tiny_checkpoint()
    other = str(tiny_checkpoint(shape=replace(tiny_shape, hidden=16), name="other").folder)
    for kind in ("cosine", "mse"):
        loss = {"teachers": [other], "teacher_weight": 1.0, "teacher_loss": kind}
        message = rf"teacher_loss = '{kind}' imitates .*other has 16, .*tiny 32; imitate its scores"
        refused(train, TrainSettings, model, message, loss=loss)
    loss = {"teachers": [str(tiny_reranker)], "teacher_weight": 1.0}
    refused(train, TrainSettings, model, r"loss\.teachers: .* is a reranker", loss=loss)
    loss = {"reranker": other, "reranker_weight": 1.0}
    refused(train, TrainSettings, model, r"loss\.reranker: .*other is an encoder", loss=loss)


def test_dimensions_that_the_model_has_not_are_refused(refused, tiny_checkpoint):
    message = r"loss\.matryoshka holds 1024, but the vectors of .*tiny have 32 dimensions"
    loss = {"matryoshka": [16, 1024]}
    refused(train, TrainSettings, tiny_checkpoint(), message, loss=loss)


def test_what_a_dense_allows_not_is_refused(refused, tiny_dense):
    model = tiny_dense()
    part = {"optimizer": {"trained": "last layer"}}
    refused(train, TrainSettings, model, "'last layer' needs a model without a Dense", **part)
    message = "^model: .*dense has a Dense behind its pooling; pre-train one without"
    refused(pretrain, PretrainSettings, model, message)
    loss = {"matryoshka": [16, 49]}
    refused(train, TrainSettings, model, "have 48 dimensions", loss=loss)


def test_pretraining_that_cannot_begin_is_refused(refused, tiny_checkpoint):
    model = tiny_checkpoint()
    message = "early_layer = 3, but the encoder has 2 layers"
    refused(pretrain, PretrainSettings, model, message, early_layer=3)
    names = model.folder / "vocab.txt"
    names.write_text(names.read_text(encoding="utf-8").replace("[MASK]", "[HIDE]"), "utf-8")
    message = "^model: the tokenizer of .*tiny has no token \\[MASK\\]"
    refused(pretrain, PretrainSettings, model, message)


def test_data_that_is_there_is_let_through(dataset, pairs):
    check_data([str(dataset), str(pairs)], split="dev", at="data.train")
    check_data([], at="data.graded")


def test_a_batch_that_processes_cannot_share_is_refused(
    refused, tiny_checkpoint, pairs, monkeypatch
):
    model, four = tiny_checkpoint(), {"batch": 4}
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    message = r"optimizer\.batch = 4 cannot be shared evenly by 3 processes"
    refused(train, TrainSettings, model, message, optimizer=four)
    refused(train_reranker, RerankerSettings, model, message, optimizer=four)
    refused(pretrain, PretrainSettings, model, message, span_length=100, optimizer=four)
    graded = {"graded": [str(pairs)], "graded_batch": 8}
    message = r"data\.graded_batch = 8 cannot be shared evenly by 3 processes"
    loss = {"graded_weight": 1.0}
    refused(train, TrainSettings, model, message, data=graded, loss=loss)
