from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom import Reranker
from corom.cli import main
from corom.errors import ArtifactError, InputError
from corom.models.checkpoint import load_checkpoint
from corom.models.head import read_head
from corom.training import train, train_reranker
from corom.training.settings import RerankerSettings, TrainSettings
from corom.training.tables import from_table, merged

from .conftest import enter_at_once, losses, texts

pytestmark = pytest.mark.torch


@pytest.fixture
def table(run_table, pairs):
    def make(output="run", **changes):
        data = {"train": [str(pairs)], "negatives": 2}
        return merged(run_table(output, data=data, max_length=48), changes)

    return make


@pytest.fixture
def settings(table):
    return lambda *args, **changes: from_table(RerankerSettings, table(*args, **changes))


def test_training_teaches_to_tell_the_answer_from_others(settings):
    finished = train_reranker(
        settings(
            data={"fill": "random", "negatives": 5},
            optimizer={"max_steps": 80, "epochs": 40, "learning_rate": 2e-3},
            run={"log_every": 5, "checkpoint_every": 100, "dropout": 0.0},
        )
    )
    # All passages score alike at first: log of six.
    assert losses(finished)[0] == pytest.approx(np.log(6), abs=0.2)
    assert losses(finished)[-1] < 0.5 * losses(finished)[0]
    reranker = Reranker.load(finished.model, precision="fp32")
    assert reranker.max_length == 48
    known = texts()
    first = 0
    for number, (query, answer) in enumerate(known[:20]):
        others = [known[(number + step) % 60][1] for step in (7, 19, 31, 43)]
        scores = reranker.score([query] * 5, [answer, *others])
        first += int(scores.argmax()) == 0
    assert first >= 15
    card = (finished.model / "README.md").read_text(encoding="utf-8")
    assert "不构成医疗建议" in card
    assert "48 tokens" in card


def test_rows_without_so_many_negatives_are_told_apart_from_empty_places(settings, tmp_path):
    rows = [
        {"query": query, "positive": answer, "negatives": [texts()[n - 1][1]] * (n % 2) or ["药"]}
        for n, (query, answer) in enumerate(texts())
    ]
    rows[3]["negatives"] = ["手术", "检查", "饮食"]
    path = tmp_path / "uneven.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    finished = train_reranker(settings(data={"train": [str(path)], "negatives": 3}))
    # Most queries have two passages: the loss begins near the log of two, not of four.
    assert losses(finished)[0] == pytest.approx(np.log(2), abs=0.15)


@pytest.mark.slow
def test_two_processes_equal_one(settings, table, run_apart):
    options = {
        "run": {"dropout": 0.0},
        "optimizer": {"chunk": 3, "accumulate": 2, "max_steps": 3},
    }
    single = train_reranker(settings("single", **options))
    run_apart(train_reranker, table("double", **options), processes=2)
    double = train_reranker(settings("double", **options))
    assert losses(double) == pytest.approx(losses(single), abs=1e-5)
    # Only differences count: what shifts all scores has no gradient but rounding, and moves by it.
    one, other = (
        np.diff(Reranker.load(each.model, precision="fp32").score(["头痛"] * 2, ["吃药", "手术"]))
        for each in (single, double)
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_chunk_at_once_changes_nothing(settings):
    whole = train_reranker(settings(run={"dropout": 0.0}))
    parts = train_reranker(settings("parts", run={"dropout": 0.0}, optimizer={"chunk": 5}))
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)


def test_a_reranker_goes_on_from_where_it_was(settings):
    once = train_reranker(settings(run={"dropout": 0.0}))
    still = {"max_steps": 1, "learning_rate": 1e-9}
    again = train_reranker(
        settings("again", model=str(once.model), optimizer=still, run={"dropout": 0.0})
    )
    assert losses(again)[0] != pytest.approx(losses(once)[0], abs=1e-3)  # not a new head's
    queries, passages = zip(*texts()[:20], strict=True)
    first, second = (Reranker.load(done.model, precision="fp32") for done in (once, again))
    np.testing.assert_allclose(
        second.score(queries, passages), first.score(queries, passages), atol=1e-5
    )


def test_no_encoder_goes_on_from_a_reranker(tiny_reranker, tmp_path):
    table = {"model": str(tiny_reranker), "output": str(tmp_path / "encoder")}
    data = {"train": [str(tmp_path / "none.jsonl")]}
    with pytest.raises(ArtifactError, match="is a reranker"):
        train(from_table(TrainSettings, {**table, "data": data}))


def test_a_killed_run_goes_on_and_ends_alike(settings, table, run_apart):
    whole = train_reranker(settings())
    run_apart(train_reranker, table("killed"), dies_after=5)
    resumed = train_reranker(settings("killed"))
    one, other = (load_checkpoint(done.model) for done in (whole, resumed))
    for mine, theirs in zip(read_head(one), read_head(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    mine, theirs = one.load_weights(), other.load_weights()
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    assert train_reranker(settings("killed")) == resumed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"negatives": 0}}, "a reranker needs passages to tell apart"),
        ({"max_length": 4}, "max_length is 4; it must be a whole number from 8"),
        ({"max_length": 600}, "512 positions"),
        ({"optimizer": {"trained": "last layer"}}, "every weight learns"),
        ({"data": {"fill": "random", "pool": {"*": 0.0}}}, "no passage to draw"),
        ({"data": {"query_length": 9}}, "query_length"),
        ({"loss": {"temperature": 1.0}}, "loss"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, changes, said):
    with pytest.raises(InputError, match=said):
        train_reranker(settings(**changes))


def test_rows_without_negatives_are_refused(settings, tmp_path):
    path = tmp_path / "bare.jsonl"
    path.write_text('{"query": "头痛", "positive": "药"}\n' * 2, encoding="utf-8")
    with pytest.raises(InputError, match=r"1 of 1 rows have no negatives.*corom mine"):
        train_reranker(settings(data={"train": [str(path)]}))


def test_the_command_line(table, capsys, tmp_path):
    asked = table()
    toml = tmp_path / "reranker.toml"
    toml.write_text("max_length = 48\n[data]\nnegatives = 2\n", encoding="utf-8")
    code = main(
        [
            *("train", "reranker", str(toml), "--model", asked["model"]),
            *("--data", asked["data"]["train"][0], "--output", asked["output"], "--json"),
            *("--set", "optimizer.batch=8", "--set", "optimizer.max_steps=2"),
            *("--set", 'run.device="cpu"'),
        ]
    )
    assert code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["steps"] == 2
    assert Path(said["model"]).is_dir()
    assert main(["rank", "头痛", "药", "手术", "--reranker", said["model"]]) == 0
    ranked = capsys.readouterr().out.splitlines()
    assert len(ranked) == 2


def test_a_run_is_entered_by_one_process_at_a_time(settings):
    enter_at_once(train_reranker, settings("held"))
