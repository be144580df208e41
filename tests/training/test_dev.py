from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.encoder import Encoder  # noqa: E402
from corom.errors import InputError  # noqa: E402
from corom.evaluation import Dense, evaluate  # noqa: E402
from corom.readers import open_dataset  # noqa: E402
from corom.training.batches import make_cutters  # noqa: E402
from corom.training.dev import Dev  # noqa: E402
from corom.training.processes import start_accelerator  # noqa: E402
from corom.training.run_settings import DevSettings, RunSettings  # noqa: E402
from corom.training.tower import load_tower  # noqa: E402

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
