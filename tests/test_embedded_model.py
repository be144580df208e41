"""The embedded model, its master, the reranker and their cards are of one make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import write_card
from corom import Encoder, Reranker, bundled
from corom.index import VectorIndex
from corom.metrics import evaluate_run
from corom.models.names import resolve
from corom.reranker import SecondPass
from corom.search import Searcher
from corom.vectors import cosines

ROOT = Path(__file__).parents[1]
MASTER = ROOT / "models" / "corom-medical"
RERANKER = ROOT / "models" / "corom-medical-reranker"


def test_the_embedded_model_has_one_of_the_cards():
    (folder,) = (folder for folder in write_card.FOLDERS if folder.startswith("src/"))
    assert resolve("corom-medical") == ROOT / folder


@pytest.mark.parametrize("folder", write_card.FOLDERS)
def test_every_card_holds_the_figures_of_results(folder):
    card = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert card == write_card.card(folder), "run: python recipes/write_card.py"
    assert "不构成医疗建议" in card
    assert "<!--" not in card


def test_the_master_gives_the_embedded_models_vectors():
    texts = [passage.text for passage in bundled.passages()][:40]
    embedded = Encoder.load("corom-medical").encode_passages(texts)
    master = Encoder.load(str(MASTER), precision="fp32").encode_passages(texts)
    assert embedded.shape == master.shape == (40, 512)
    close = cosines(embedded, master)
    assert close.mean() > 0.999
    assert close.min() > 0.99
    assert np.isfinite(master).all()


def test_the_reranker_finds_the_bundled_answers():
    encoder, passages = Encoder.load(), bundled.passages()
    index = VectorIndex.for_encoder(encoder)
    index.add(passages, encoder.encode_passages(passage.content for passage in passages))
    second = SecondPass(reranker=Reranker.load(RERANKER, precision="fp32"), depth=5)
    asked = bundled.queries()[:40]
    run = Searcher(index, encoder=encoder, second=second).run(asked, k=10)
    qrels = [qrel for qrel in bundled.qrels() if qrel.query_id in run]
    found = evaluate_run(run, qrels, measures=["MRR@10"]).means["MRR@10"]
    assert found > 0.9


def test_the_master_is_small_enough_for_a_repository():
    folders = [folder for folder in (ROOT / "models").iterdir() if folder.is_dir()]
    assert {MASTER, RERANKER} <= set(folders)
    for folder in folders:
        assert sum(path.stat().st_size for path in folder.iterdir()) < 45e6
    assert sum(path.stat().st_size for path in resolve("corom-medical").iterdir()) <= 30e6
