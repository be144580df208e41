from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.numpy import load_file  # noqa: E402

from corom.encoder import Encoder  # noqa: E402
from corom.errors import ArtifactError, FormatError, InputError, TrainingError  # noqa: E402
from corom.evaluation import Dense, evaluate  # noqa: E402
from corom.models.checkpoint import load_checkpoint  # noqa: E402
from corom.readers import open_dataset  # noqa: E402
from corom.training.checkpoints import checkpoints  # noqa: E402
from corom.training.finetune import train  # noqa: E402
from corom.training.settings import TrainSettings  # noqa: E402
from corom.training.tables import as_table, from_table, merged  # noqa: E402

from .conftest import enter_at_once, log_of, losses  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def table(run_table, pairs):
    def make(output="run", **changes):
        data = {"train": [str(pairs)], "negatives": 1, "passage_length": 32}
        return merged(run_table(output, data=data, loss={"temperature": 0.05}), changes)

    return make


@pytest.fixture
def settings(table):
    return lambda *args, **changes: from_table(TrainSettings, table(*args, **changes))


def weights(finished):
    return load_checkpoint(finished.model).load_weights()


def test_training_teaches_and_writes_a_model(settings, dataset):
    seen = []
    finished = train(
        settings(
            optimizer={"max_steps": 40, "epochs": 20, "learning_rate": 2e-3},
            dev={"folder": str(dataset), "every": 20},
            run={"log_every": 5, "checkpoint_every": 100, "dropout": 0.0},
        ),
        progress=seen.append,
    )
    assert finished.steps == 40
    assert losses(finished)[-1] < 0.5 * losses(finished)[0]
    assert finished.final_dev == max(finished.dev.values()) > 0.5
    assert [now.step for now in seen] == list(range(1, 41))
    assert seen[0].steps == 40
    assert seen[19].dev == finished.dev["20"]
    assert all(now.texts_per_s > 0 for now in seen)
    model = load_checkpoint(finished.model)
    assert model.encoding.normalize
    assert model.encoding.max_length == 128
    card = (finished.model / "README.md").read_text(encoding="utf-8")
    assert "不构成医疗建议" in card
    assert f"{100 * finished.final_dev:.2f}" in card


def test_a_dense_stays_as_it_is_while_the_encoder_learns(settings, tiny_dense):
    base = tiny_dense(tanh=False)
    options = {
        "optimizer": {"max_steps": 30, "epochs": 20, "learning_rate": 2e-3},
        "run": {"dropout": 0.0, "checkpoint_every": 20},
        "loss": {"base_weight": 0.1, "matryoshka": [24]},
    }
    finished = train(settings(**options, model=str(base.folder)))
    assert losses(finished)[-1] < 0.7 * losses(finished)[0]
    made = load_checkpoint(finished.model)
    assert made.dense.identity == base.dense.identity
    word = "embeddings.word_embeddings.weight"
    assert not np.array_equal(made.load_weights()[word], base.load_weights()[word])
    saved = load_file(next(iter(checkpoints(finished.model.parent))) / "weights.safetensors")
    assert {"weight", "bias"}.isdisjoint(saved)


def test_a_finished_run_returns_at_once_and_another_is_refused(settings, table, pairs):
    finished = train(settings())
    assert train(settings()) == finished
    with pytest.raises(InputError, match=r"other settings \(optimizer\.learning_rate\)"):
        train(settings(optimizer={"learning_rate": 2e-3}))
    pairs.write_text(pairs.read_text(encoding="utf-8") * 2, encoding="utf-8")
    with pytest.raises(InputError, match="other inputs"):
        train(settings())


@pytest.mark.parametrize("change", [{"chunk": 5}, {"chunk": 1}])
def test_gradient_caching_changes_nothing(settings, change):
    plain = train(settings("plain", run={"dropout": 0.0}))
    cached = train(settings("cached", run={"dropout": 0.0}, optimizer=change))
    assert losses(cached) == pytest.approx(losses(plain), abs=1e-5)
    for name, array in weights(cached).items():
        if "key.bias" not in name:  # its gradient is zero but for rounding, which AdamW blows up
            np.testing.assert_allclose(array, weights(plain)[name], atol=1e-5, err_msg=name)


def test_after_a_kill_the_run_goes_on_as_if_nothing_had_been(settings, table, run_apart, tmp_path):
    options = {
        "optimizer": {"max_steps": 7, "chunk": 6},
        "data": {"fill": "random", "negatives": 3},
    }
    whole = train(settings("whole", **options))
    run_apart(train, table("killed", **options), dies_after=5)
    assert not (tmp_path / "killed" / "result.json").exists()
    assert [path.name for path in checkpoints(tmp_path / "killed")][-1] == "step-00000004"
    resumed = train(settings("killed", **options))
    assert log_of(resumed.model.parent) == log_of(whole.model.parent)
    for name, array in weights(resumed).items():
        np.testing.assert_array_equal(array, weights(whole)[name])


def only(part, **options):
    return {"optimizer": {"trained": part, "learning_rate": 5e-3, "max_steps": 6, **options}}


BLOCK = ["intermediate.dense", "output.dense", "output.LayerNorm"]
LAYER = [
    *BLOCK,
    *(f"attention.self.{name}" for name in ("query", "key", "value")),
    *("attention.output.dense", "attention.output.LayerNorm"),
]
PARTS = {
    "last block": {1: BLOCK},
    "last layer": {1: LAYER},
    "last two layers": {1: LAYER, 2: LAYER},
}
"""What learns, by layers from the top."""
each_part = pytest.mark.parametrize("part", PARTS)


@each_part
def test_the_end_alone_learns(part, settings, table, dataset, tmp_path):
    finished = train(
        settings(
            **only(part, max_steps=60, epochs=20),
            dev={"folder": str(dataset), "every": 20},
            run={"dropout": 0.0},
        )
    )
    assert losses(finished)[-1] < 0.8 * losses(finished)[0]
    before = load_checkpoint(Path(table()["model"])).load_weights()
    layers = load_checkpoint(finished.model).shape.layers
    moved = {name for name, array in weights(finished).items() if (array != before[name]).any()}
    learned = {
        f"encoder.layer.{layers - depth}.{name}.{kind}"
        for depth, names in PARTS[part].items()
        for name in names
        for kind in ("weight", "bias")
    }
    # A bias of all keys adds the same to every score: nothing but rounding moves it.
    assert moved <= learned
    assert all(name.endswith("attention.self.key.bias") for name in learned - moved)
    # The dev figure of kept states is that of the finished model's own vectors.
    evaluated = evaluate(
        open_dataset(dataset),
        [Dense(Encoder.load(str(finished.model), precision="fp32"), name="it", work=tmp_path)],
        splits=["dev"],
        measures=["MRR@10"],
    )
    assert evaluated.results[0].evaluation.means["MRR@10"] == pytest.approx(
        finished.final_dev, abs=1e-6
    )


@each_part
def test_kept_states_change_nothing(part, settings, table, tmp_path):
    """The first loss of the part equals that of the whole encoder; a batch's texts are theirs."""
    options = {"run": {"dropout": 0.0}, "loss": {"base_weight": 0.5, "temperature": 0.05}}
    whole = train(settings("whole", **options))
    block = train(settings("block", **options, **only(part)))
    assert losses(block)[0] == pytest.approx(losses(whole)[0], rel=1e-3)  # kept as float16
    kept = sorted((tmp_path / "block" / "states").glob("*/*.npy"))
    assert len(kept) == 4  # of each side the rows, and whose they are
    # A second stage has the same body: it reads the states of the first.
    train(
        settings(
            "more",
            model=str(block.model),
            states=str(tmp_path / "block/states"),
            **only(part, chunk=3),
        )
    )
    assert sorted((tmp_path / "block" / "states").glob("*/*.npy")) == kept
    assert not (tmp_path / "more" / "states").exists()
    # A run that was killed reads what it kept, unless that was changed.
    (tmp_path / "block" / "result.json").unlink()
    changed = bytearray(kept[0].read_bytes())
    changed[-1] ^= 1
    kept[0].write_bytes(changed)
    with pytest.raises(ArtifactError, match="was changed"):
        train(settings("block", **options, **only(part)))


@each_part
def test_gradients_of_a_cut_batch_are_those_of_the_whole(part, settings):
    options = {"run": {"dropout": 0.0}, "loss": {"base_weight": 0.5}}
    whole = train(settings("whole", **options, **only(part)))
    cut = train(settings("cut", **options, **only(part, chunk=3)))
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-4)


@each_part
def test_the_end_goes_on_after_a_kill(part, settings, table, run_apart):
    whole = train(settings("whole", **only(part)))
    run_apart(train, table("killed", **only(part)), dies_after=5)
    resumed = train(settings("killed", **only(part)))
    assert log_of(resumed.model.parent) == log_of(whole.model.parent)


def test_a_pool_without_passages_is_refused(settings):
    with pytest.raises(InputError, match=r"data\.pool leaves no passage"):
        train(settings(data={"fill": "random", "negatives": 3, "pool": {"*": 0.0}}))


@each_part
def test_the_end_needs_cls_pooling(part, settings, tiny_checkpoint):
    folder = tiny_checkpoint(pooling="avg", name="average").folder
    with pytest.raises(InputError, match=r"needs \[CLS\] pooling; the model's is avg"):
        train(settings(model=str(folder), **only(part)))


@pytest.mark.slow
@each_part
def test_two_processes_train_the_end_as_one(part, settings, table, run_apart):
    options = {"run": {"dropout": 0.0}, **only(part)}
    single = train(settings("single", **options))
    run_apart(train, table("double", **options), processes=2)
    assert losses(train(settings("double", **options))) == pytest.approx(losses(single), abs=1e-5)


@pytest.mark.slow
def test_two_processes_equal_one(settings, table, run_apart, pairs):
    options = {
        "run": {"dropout": 0.0},
        "optimizer": {"chunk": 3, "accumulate": 2, "max_steps": 3},
        "loss": {"both_directions": True, "matryoshka": [8], "base_weight": 0.5},
    }
    single = train(settings("single", **options))
    run_apart(train, table("double", **options), processes=2)
    double = train(settings("double", **options))
    assert losses(double) == pytest.approx(losses(single), abs=1e-5)
    for name, array in weights(double).items():
        if "key.bias" not in name:
            np.testing.assert_allclose(array, weights(single)[name], atol=1e-5, err_msg=name)


def test_a_broken_loss_stops_the_run_and_keeps_the_checkpoint(settings):
    broken = settings(optimizer={"learning_rate": 1e30, "warmup": 0.0, "clip": 0.0})
    with pytest.raises(TrainingError, match="not a finite number at step 2; nothing is kept"):
        train(broken)


def test_patience_ends_a_run_that_does_not_improve(settings, dataset):
    chosen = settings(
        optimizer={"max_steps": 10, "learning_rate": 1e-12},
        dev={"folder": str(dataset), "every": 1, "patience": 2},
    )
    finished = train(chosen)
    assert (finished.steps, finished.best_step) == (3, 1)
    assert train(chosen) == finished


def test_the_best_step_becomes_the_model_and_is_not_pruned(settings, dataset, monkeypatch):
    from corom.training.dev import Dev

    figures = iter([0.1, 0.4, 0.2, 0.3, 0.1, 0.2])
    monkeypatch.setattr(Dev, "figure", lambda *_: next(figures))
    finished = train(settings(dev={"folder": str(dataset), "every": 1}, run={"keep": 1}))
    assert finished.best_step == 2
    assert finished.final_dev == 0.4
    kept = [path.name for path in checkpoints(finished.model.parent)]
    assert kept == ["step-00000002", "step-00000006"]


def test_averaging_and_keeping_the_base(settings, table):
    last = train(settings("last"))
    mixed = train(settings("mixed", finish={"average_last": 2, "keep_base": 0.25}))
    base = load_checkpoint(table()["model"]).load_weights()
    name = "encoder.layer.0.output.dense.weight"
    assert not np.allclose(weights(mixed)[name], weights(last)[name], atol=1e-6)
    distance = {
        one: np.abs(weights(run)[name] - base[name]).mean()
        for one, run in (("last", last), ("mixed", mixed))
    }
    assert distance["mixed"] < 0.8 * distance["last"]


@pytest.mark.parametrize(
    "loss",
    [
        {"both_directions": True, "mask_margin": 0.1},
        {"similarity": "dot", "temperature": 1.0},
        {"matryoshka": [16, 8]},
        {"base_weight": 1.0},
        {"teacher_weight": 1.0, "teacher_loss": "kl"},
        {"teacher_weight": 1.0, "teacher_loss": "margin_mse"},
        {"teacher_weight": 1.0, "teacher_loss": "cosine", "contrast_weight": 0.0},
        {"teacher_weight": 1.0, "teacher_loss": "mse", "contrast_weight": 0.0},
    ],
)
def test_every_loss_trains(settings, tiny_checkpoint, loss):
    if "teacher_weight" in loss:
        loss = {**loss, "teachers": [str(tiny_checkpoint(seed=8, name="teacher").folder)]}
    finished = train(settings(loss=loss, optimizer={"max_steps": 12, "epochs": 3}))
    found = losses(finished)
    assert np.isfinite(found).all()
    assert found[-1] != found[0]
    assert load_checkpoint(finished.model).encoding.normalize == (loss.get("similarity") != "dot")


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_imitating_oneself_costs_nothing(settings, table, similarity):
    loss = {"contrast_weight": 0.0, "teachers": [table()["model"]], "teacher_weight": 1.0}
    loss["similarity"] = similarity
    for kind in ("kl", "margin_mse", "cosine"):
        temperatures = {"temperature": 0.05, "teacher_temperature": 0.05}
        finished = train(
            settings(
                kind,
                loss={**loss, **temperatures, "teacher_loss": kind},
                run={"dropout": 0.0},
                optimizer={"max_steps": 1},
            )
        )
        assert losses(finished)[0] == pytest.approx(0, abs=1e-6)


def test_a_reranker_is_imitated(settings, tiny_reranker):
    loss = {"contrast_weight": 0.0, "reranker": str(tiny_reranker), "reranker_weight": 1.0}
    finished = train(
        settings(
            data={"negatives": 4, "fill": "random"},
            loss=loss,
            optimizer={"max_steps": 60, "epochs": 30, "learning_rate": 2e-3},
            run={"dropout": 0.0},
        )
    )
    found = losses(finished)
    # Random passages come anew each epoch, so what is left is more than what was learned by heart.
    assert np.mean(found[-5:]) < 0.7 * np.mean(found[:5])
    noted = json.loads((finished.model.parent / "settings.json").read_text(encoding="utf-8"))
    assert load_checkpoint(tiny_reranker).fingerprint in noted["inputs"].values()


def test_graded_pairs_join_in(settings, tmp_path):
    path = tmp_path / "graded.jsonl"
    lines = [
        {"query": "糖尿病吃什么", "positive": "糖尿病饮食", "label": 1},
        {"query": "糖尿病吃什么", "positive": "手术多久", "label": 0},
        {"query": "头痛", "positive": "头痛吃药", "label": 2},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    graded = {"graded": [str(path)], "graded_batch": 2}
    alone = {"graded_weight": 1.0, "contrast_weight": 0.0}
    finished = train(settings(data=graded, loss=alone, optimizer={"max_steps": 20, "epochs": 4}))
    assert np.mean(losses(finished)[-5:]) < np.mean(losses(finished)[:5])
    with pytest.raises(InputError, match="3 graded pairs: no source fills"):
        train(settings("other", data={**graded, "graded_batch": 4}, loss=alone))


@pytest.mark.parametrize("room", [True, False])
def test_freed_memory_is_kept_from_the_second_step_on_where_there_is_room(
    room, settings, monkeypatch
):
    seen = []

    @contextmanager
    def kept():
        seen.append("kept")
        yield
        seen.append("given back")

    monkeypatch.setattr("corom.training.loop.has_room", lambda *, processes: room)
    monkeypatch.setattr("corom.training.loop.freed_memory_kept", kept)
    train(settings(optimizer={"max_steps": 3}), progress=lambda now: seen.append(now.step))
    assert seen == ([1, "kept", 2, 3, "given back"] if room else [1, 2, 3])


@pytest.mark.parametrize("part", ["all", "last layer"])
def test_prefixes_that_are_asked_for_are_learned_with_and_stay(part, settings, tiny_checkpoint):
    more = {"optimizer": {"trained": part}}
    asked = train(settings("asked", data={"query_prefix": "头痛", "passage_prefix": ""}, **more))
    encoding = load_checkpoint(asked.model).encoding
    assert (encoding.query_prefix, encoding.passage_prefix) == ("头痛", "")
    own = tiny_checkpoint(name="own", query_prefix="头痛", passage_prefix="手术")
    without = settings("prefixed", model=str(own.folder), data={"passage_prefix": ""}, **more)
    found, plain = train(without), train(settings("plain", **more))
    assert load_checkpoint(found.model).encoding.passage_prefix == ""
    assert losses(found) == losses(asked) != losses(plain)


def test_bad_rows_raise_with_their_line_or_are_counted(settings, pairs):
    good = pairs.read_text(encoding="utf-8").splitlines()
    bad = ['{"query": "头痛"}', "{broken", '{"query": "", "positive": "休息"}', good[0]]
    pairs.write_text("\n".join([good[0], *bad, *good[1:]]) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match="line 2"):
        train(settings("raised"))
    finished = train(settings("skipped", data={"bad_rows": "skip"}))
    report = json.loads((finished.model.parent / "data.json").read_text(encoding="utf-8"))
    assert report["rows"] == 60
    assert report["repeated rows, dropped"] == 1
    assert sum(report["left out"].values()) == 3
    assert "头痛" not in json.dumps(report, ensure_ascii=False)


def test_too_little_data_and_missing_files_are_refused(settings, tmp_path):
    with pytest.raises(InputError, match="does not fill one step"):
        train(settings("a", optimizer={"batch": 100}))
    with pytest.raises(InputError, match="does not exist"):
        train(settings("b", data={"train": [str(tmp_path / "none.jsonl")]}))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "other").touch()
    with pytest.raises(InputError, match="is not empty and holds no run"):
        train(settings("c"))


def test_a_dev_figure_is_due_once_per_epoch_whatever_max_steps_leaves(settings, dataset):
    # 60 rows are 7 batches of 8; the run ends in the second of its epochs.
    finished = train(settings(dev={"folder": str(dataset)}, optimizer={"max_steps": 9}))
    assert list(finished.dev) == ["7", "9"]


def test_weights_of_sources_and_dataset_folders(settings, dataset):
    finished = train(
        settings(
            data={"train": [str(dataset)], "fill": "random", "weights": {"med*": 0.5}},
            optimizer={"batch": 8, "epochs": 1, "max_steps": None},
        )
    )
    assert finished.steps == 3  # 60 rows, half of them an epoch, batches of 8


def test_settings_survive_their_file(settings):
    chosen = settings()
    assert from_table(TrainSettings, as_table(chosen)) == chosen


def test_topics_are_kept_and_fill_the_batches(table, settings, tmp_path):
    train(settings("with", data={"topics": 4}))
    topics = np.load(tmp_path / "with" / "topics.npy")
    assert topics.shape == (60,)
    assert set(topics.tolist()) == {0, 1, 2, 3}
    train(settings("without"))
    assert log_of(tmp_path / "with") != log_of(tmp_path / "without")


def test_topics_resume_with_the_same_batches(settings, table, run_apart, tmp_path):
    train(settings("whole", data={"topics": 4}))
    run_apart(train, table("cut", data={"topics": 4}), dies_after=3)
    run_apart(train, table("cut", data={"topics": 4}))
    assert log_of(tmp_path / "whole")[-1] == log_of(tmp_path / "cut")[-1]


def test_more_topics_than_queries_are_refused(settings):
    with pytest.raises(InputError, match="61"):
        train(settings(data={"topics": 61}))


def test_a_run_is_entered_by_one_process_at_a_time(settings):
    enter_at_once(train, settings("held"))
