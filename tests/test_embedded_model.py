"""The embedded model, its master and its card are of one make."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from corom import Encoder, bundled
from corom.models.names import resolve
from corom.vectors import cosines

ROOT = Path(__file__).parents[1]
MASTER = ROOT / "models" / "corom-medical"
FIGURES = ROOT / "results" / "model.json"


@pytest.fixture(scope="module")
def writer():
    path = ROOT / "recipes" / "write_card.py"
    spec = importlib.util.spec_from_file_location("write_card", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", [resolve("corom-medical"), MASTER], ids=["embedded", "master"])
def test_the_card_holds_the_figures_of_results(writer, folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == writer.card(), "run: python recipes/write_card.py"
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


def test_the_master_is_small_enough_for_a_repository():
    assert sum(path.stat().st_size for path in MASTER.iterdir()) < 45e6
    assert sum(path.stat().st_size for path in resolve("corom-medical").iterdir()) <= 30e6
