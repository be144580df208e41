from __future__ import annotations

import math
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.errors import InputError  # noqa: E402
from corom.models.checkpoint import load_checkpoint  # noqa: E402
from corom.training.pretraining import pretrain, span_contrast  # noqa: E402
from corom.training.settings import PretrainSettings  # noqa: E402
from corom.training.tables import from_table, merged  # noqa: E402

from .conftest import enter_at_once, log_of, losses, texts  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def table(run_table, tmp_path):
    path = tmp_path / "text.txt"
    # Documents of 3 to 60 tokens: some are too short for two spans.
    lines = [f"{q}{a}"[: 3 + 7 * (n % 9)] for n, (q, a) in enumerate(texts())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def make(output="run", **changes):
        own = {"texts": [str(path)], "span_length": 16, "shortest_span": 4}
        return merged(run_table(output, **own), changes)

    return make


@pytest.fixture
def settings(table):
    return lambda *args, **changes: from_table(PretrainSettings, table(*args, **changes))


def test_pretraining_learns_and_exports_an_encoder(settings, dataset):
    finished = pretrain(
        settings(
            optimizer={"max_steps": 60, "epochs": 20, "learning_rate": 5e-3},
            run={"dropout": 0.0, "log_every": 10, "checkpoint_every": 100},
            dev={"folder": str(dataset), "every": 30},
        )
    )
    assert losses(finished)[-1] < 0.8 * losses(finished)[0]
    model = load_checkpoint(finished.model)
    assert (model.encoding.pooling, model.encoding.normalize) == ("cls", True)
    assert model.shape == load_checkpoint(finished.model).shape
    assert set(finished.dev) == {"30", "60"}
    assert model.load_weights()


def test_chunks_change_nothing(settings):
    plain = pretrain(settings("plain", run={"dropout": 0.0}))
    cached = pretrain(settings("cached", run={"dropout": 0.0}, optimizer={"chunk": 5}))
    assert losses(cached) == pytest.approx(losses(plain), abs=1e-4)


def test_after_a_kill_it_goes_on_as_if_nothing_had_been(settings, table, run_apart):
    whole = pretrain(settings("whole"))
    run_apart(pretrain, table("killed"), dies_after=3)
    resumed = pretrain(settings("killed"))
    assert log_of(resumed.model.parent) == log_of(whole.model.parent)
    expected = load_checkpoint(whole.model).load_weights()
    for name, array in load_checkpoint(resumed.model).load_weights().items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.slow
def test_a_kill_between_corpus_and_report_is_no_harm(settings):
    finished = pretrain(settings())
    folder = finished.model.parent
    report = (folder / "data.json").read_bytes()
    for path in (folder / "result.json", folder / "data.json"):
        path.unlink()
    shutil.rmtree(folder / "model")
    again = pretrain(settings())
    assert (folder / "data.json").read_bytes() == report
    assert load_checkpoint(again.model).fingerprint


def test_two_processes_equal_one_in_pretraining(settings, table, run_apart):
    options = {"run": {"dropout": 0.0}, "optimizer": {"max_steps": 2}}
    single = pretrain(settings("single", **options))
    run_apart(pretrain, table("double", **options), processes=2)
    double = pretrain(settings("double", **options))
    assert losses(double) == pytest.approx(losses(single), abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"masking": "random"},
        {"head_layers": 0},
        {"contrast_weight": 0.0},
        {"early_layer": 0, "mask_rate": 0.3},
        {"scratch": {"layers": 1, "hidden": 16, "heads": 2, "intermediate": 32}},
    ],
)
def test_every_variant_trains(settings, change):
    finished = pretrain(settings(**change, optimizer={"max_steps": 2}))
    assert np.isfinite(losses(finished)).all()
    shape = load_checkpoint(finished.model).shape
    assert (shape.layers, shape.hidden) == ((1, 16) if "scratch" in change else (2, 32))


def test_masking_is_the_same_after_a_resume_and_differs_by_epoch(settings, tmp_path):
    from corom.training.frame import Run
    from corom.training.pretraining import Corpus, PreTraining, _prepare
    from corom.training.processes import start_accelerator

    chosen = settings()
    checkpoint = load_checkpoint(chosen.model)
    run = Run(settings=chosen, accelerator=start_accelerator(chosen.run), base=checkpoint)
    _prepare(run, tmp_path / "corpus")
    one, other = (PreTraining(run, corpus=Corpus(tmp_path / "corpus")) for _ in range(2))
    for ours, theirs in zip(one.batch(5).tokens, other.batch(5).tokens, strict=True):
        assert ours.tolist() == theirs.tolist()
    first, second = (one._spans(8, epoch)[0][0].tolist() for epoch in (0, 1))
    assert first != second


def test_wrong_settings_are_refused(settings):
    with pytest.raises(InputError, match="early_layer = 9"):
        pretrain(settings(early_layer=9))
    with pytest.raises(InputError, match="texts names no file"):
        settings(texts=[])
    with pytest.raises(InputError, match="there is no base to keep"):
        settings(
            scratch={"layers": 1, "hidden": 16, "heads": 2, "intermediate": 32},
            finish={"keep_base": 0.1},
        )


def test_span_contrast_by_hand():
    vectors = torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    paired = torch.tensor([True, False, True])
    result = span_contrast(vectors, paired, temperature=0.5).item()
    spans_there = [0, 1, 2, 3, 5]  # the document in the middle has one span only
    expected = []
    for one, partner in ((0, 3), (2, 5), (3, 0), (5, 2)):
        scores = {o: math.exp((vectors[one] @ vectors[o]).item() / 0.5) for o in spans_there}
        others = sum(score for o, score in scores.items() if o != one)
        expected.append(-math.log(scores[partner] / others))
    assert result == pytest.approx(sum(expected) / 4)
    assert span_contrast(vectors, torch.zeros(3, dtype=torch.bool), temperature=0.5).item() == 0


def test_a_run_is_entered_by_one_process_at_a_time(settings):
    enter_at_once(pretrain, settings("held"))
