"""A reranker's dev figure is what a search in two passes would get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom import Reranker
from corom.errors import InputError
from corom.metrics import evaluate_run
from corom.readers import open_dataset
from corom.records import Hit
from corom.reranker import SecondPass
from corom.runs import read_trec_run, write_trec_run
from corom.training import train_reranker
from corom.training.settings import RerankerSettings
from corom.training.tables import from_table

from .conftest import log_of

pytestmark = pytest.mark.torch


@pytest.fixture
def run_file(dataset: Path, tmp_path: Path) -> Path:
    """What a first search found for the queries of `dev`: eight passages, the answer anywhere."""
    opened, rng, run = open_dataset(dataset), np.random.default_rng(4), {}
    relevant = {qrel.query_id: qrel.passage_id for qrel in opened.qrels("dev")}
    for query in opened.queries("dev"):
        others = [str(n) for n in rng.permutation(60)[:8] + 1 if str(n) != relevant[query.id]]
        found = rng.permutation([relevant[query.id], *others[:7]]).tolist()
        run[query.id] = [Hit(id_, 1.0 - 0.01 * rank) for rank, id_ in enumerate(found)]
    path = tmp_path / "first.run"
    write_trec_run(path, run)
    return path


@pytest.fixture
def settings(tiny_checkpoint, pairs, dataset, run_file, tmp_path):
    folder = str(tiny_checkpoint().folder)

    def make(*, output="run", dev=None, **changes):
        table = {
            "model": folder,
            "output": str(tmp_path / output),
            "data": {"train": [str(pairs)], "negatives": 2},
            "max_length": 48,
            "optimizer": {"batch": 8, "max_steps": 12, "epochs": 5, "learning_rate": 3e-3},
            "run": {"device": "cpu", "precision": "fp32", "checkpoint_every": 3},
            "dev": {"folder": str(dataset), "run": str(run_file), "depth": 5, **(dev or {})},
        }
        return from_table(RerankerSettings, {**table, **changes})

    return make


def figure(model: Path, dataset: Path, run_file: Path) -> float:
    """Return MRR@10 of the run in the order of a second pass."""
    opened, run = open_dataset(dataset), read_trec_run(run_file)
    second = SecondPass(reranker=Reranker.load(model, precision="fp32"), depth=5)
    texts = {passage.id: passage.content for passage in opened.passages()}
    queries = [query for query in opened.queries("dev") if query.id in run]
    found = second.reorder(
        [query.text for query in queries],
        [run[query.id][:5] for query in queries],
        texts=lambda ids: [texts[id_] for id_ in ids],
    )
    ranked = dict(zip([query.id for query in queries], found, strict=True))
    return evaluate_run(ranked, opened.qrels("dev"), measures=["MRR@10"]).means["MRR@10"]


def test_the_figure_is_that_of_a_second_pass_and_the_best_step_is_taken(
    settings, dataset, run_file
):
    finished = train_reranker(settings(dev={"every": 3}))
    assert list(finished.dev) == ["3", "6", "9", "12"]
    best = max(finished.dev.values())
    assert finished.dev[str(finished.best_step)] == finished.final_dev == best
    assert figure(finished.model, dataset, run_file) == pytest.approx(best, abs=1e-6)
    lines = [line for line in log_of(finished.model.parent) if "dev" in line]
    assert [line["step"] for line in lines] == [3, 6, 9, 12]


def test_the_last_step_may_be_taken_instead(settings, dataset, run_file):
    finished = train_reranker(settings(dev={"every": 3}, take="last"))
    assert finished.final_dev == finished.dev["12"]
    found = figure(finished.model, dataset, run_file)
    assert found == pytest.approx(finished.final_dev, abs=1e-6)


def test_patience_ends_a_run(settings):
    still = {"batch": 8, "max_steps": 30, "epochs": 9, "learning_rate": 1e-12}
    finished = train_reranker(settings(dev={"every": 2, "patience": 2}, optimizer=still))
    assert finished.steps == finished.best_step + 4 < 30


def test_a_sample_of_the_queries_may_be_asked(settings):
    finished = train_reranker(settings(dev={"every": 12, "max_queries": 3, "measure": "nDCG@5"}))
    assert 0 <= finished.final_dev <= 1


def test_a_run_file_that_does_not_fit_is_refused(settings, run_file):
    run = read_trec_run(run_file)
    whole = dict(run)
    gone = run.pop(next(iter(run)))
    write_trec_run(run_file, run)
    with pytest.raises(InputError, match="nothing for 1 of 20 judged queries of dev"):
        train_reranker(settings(output="gone"))
    write_trec_run(run_file, {**whole, next(iter(whole)): [*gone[:2], Hit("999", 0.0)]})
    with pytest.raises(InputError, match="holds 1 passages that the data set has not"):
        train_reranker(settings(output="unknown"))


@pytest.mark.parametrize(
    ("dev", "said"),
    [
        ({"depth": 0}, "dev.depth"),
        ({"share": 0}, "dev.share"),
        ({"measure": "MRR"}, "dev.measure"),
        ({"max_queries": 0}, "dev.max_queries"),
        ({"max_passages": 5}, "max_passages"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, dev, said):
    with pytest.raises(InputError, match=said):
        settings(dev=dev)
