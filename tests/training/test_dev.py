from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom import Reranker  # noqa: E402
from corom.encoder import Encoder  # noqa: E402
from corom.errors import InputError  # noqa: E402
from corom.evaluation import Dense, evaluate  # noqa: E402
from corom.metrics import evaluate_run  # noqa: E402
from corom.readers import open_dataset  # noqa: E402
from corom.records import Hit  # noqa: E402
from corom.reranker import SecondPass  # noqa: E402
from corom.runs import read_trec_run, write_trec_run  # noqa: E402
from corom.training import train_reranker  # noqa: E402
from corom.training.batches import make_cutters  # noqa: E402
from corom.training.dev import Dev  # noqa: E402
from corom.training.processes import start_accelerator  # noqa: E402
from corom.training.run_settings import DevSettings, RunSettings  # noqa: E402
from corom.training.settings import RerankerSettings  # noqa: E402
from corom.training.tables import from_table, merged  # noqa: E402
from corom.training.tower import load_tower  # noqa: E402

from .conftest import log_of  # noqa: E402
from .test_reranking import table  # noqa: E402

__all__ = ["table"]

pytestmark = pytest.mark.torch


@pytest.fixture
def checkpoint(tiny_checkpoint):
    return tiny_checkpoint(normalize=True)


@pytest.fixture
def make_dev(checkpoint, dataset):
    def make(**options):
        cutters = make_cutters(checkpoint, query_length=128, passage_length=128)
        accelerator = start_accelerator(RunSettings(device="cpu"))
        settings = DevSettings(folder=str(dataset), **options)
        return Dev(settings, seed=1, accelerator=accelerator, cutters=cutters)

    return make


def encode_with(checkpoint):
    tower = load_tower(checkpoint).eval()
    return lambda chunk: torch.nn.functional.normalize(tower(*chunk), dim=1)


@pytest.mark.parametrize("measure", ["MRR@10", "nDCG@5", "Recall@20"])
def test_the_figure_is_that_of_evaluate(checkpoint, dataset, make_dev, tmp_path, measure):
    model = Dense(Encoder(checkpoint, precision="fp32"), name="tiny", work=tmp_path / "work")
    report = evaluate(open_dataset(dataset), [model], splits=["dev"], measures=[measure], depth=20)
    figure = make_dev(measure=measure).figure(encode_with(checkpoint))
    assert figure == pytest.approx(report.results[0].evaluation.means[measure])


def test_a_sample_keeps_what_is_relevant_and_is_of_the_seed(make_dev, checkpoint):
    dev = make_dev(max_queries=5, max_passages=10)
    assert len(dev.query_ids) == 5
    assert len(dev.passage_ids) == 15
    assert {qrel.passage_id for qrel in dev.qrels} <= set(dev.passage_ids)
    assert make_dev(max_queries=5, max_passages=10).passage_ids == dev.passage_ids
    assert 0 < dev.figure(encode_with(checkpoint)) <= 1


def test_queries_that_cannot_be_judged_are_refused(make_dev, dataset):
    (dataset / "qrels.dev.tsv").write_text("1\t0\t1\t0\n")
    with pytest.raises(InputError, match="no query of dev can be judged"):
        make_dev()
    with pytest.raises(InputError, match="no split 'test'"):
        make_dev(queries="test")


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
def settings(table, dataset, run_file):
    def make(*, output="run", dev=None, **changes):
        dev = {"folder": str(dataset), "run": str(run_file), "depth": 5, **(dev or {})}
        optimizer, run = {"max_steps": 12, "learning_rate": 3e-3}, {"checkpoint_every": 3}
        own = table(output, optimizer=optimizer, run=run, dev=dev)
        return from_table(RerankerSettings, merged(own, changes))

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
    card = (finished.model / "README.md").read_text(encoding="utf-8")
    assert f"MRR@10 {100 * best:.2f} (`{dataset}` dev, 首轮检索的前 5 个结果" in card
    lines = [line for line in log_of(finished.model.parent) if "dev" in line]
    assert [line["step"] for line in lines] == [3, 6, 9, 12]


def test_the_last_step_may_be_taken_instead(settings, dataset, run_file):
    finished = train_reranker(settings(dev={"every": 3}, take="last"))
    assert finished.final_dev == finished.dev["12"]
    found = figure(finished.model, dataset, run_file)
    assert found == pytest.approx(finished.final_dev, abs=1e-6)


def test_patience_ends_a_run(settings):
    still = {"max_steps": 30, "epochs": 9, "learning_rate": 1e-12}
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
