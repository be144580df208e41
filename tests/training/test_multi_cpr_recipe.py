"""The card's recipe end to end: its own file, on a tiny data set in Multi-CPR's form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom import Encoder
from corom.training.chain import two_stage
from corom.training.recipe import load_recipe

pytestmark = pytest.mark.torch

RECIPE = Path(__file__).parents[2] / "recipes" / "multi-cpr-medical.toml"


@pytest.fixture
def published(dataset):
    """The folder as it is published: the corpus cut into four files, even inside a line."""
    corpus = (dataset / "corpus.tsv").read_bytes()
    (dataset / "corpus.tsv").unlink()
    quarter = len(corpus) // 4 + 1
    for part in range(4):
        piece = corpus[part * quarter : (part + 1) * quarter]
        (dataset / f"corpus_split_{part + 1}.tsv").write_bytes(piece)
    return str(dataset)


def test_the_recipe_leads_from_the_published_files_to_the_table(
    published, tiny_checkpoint, tmp_path
):
    pytest.importorskip("ir_measures")
    pytest.importorskip("tantivy")
    run = {"device": "cpu", "precision": "fp32"}
    small = {"batch": 8, "max_steps": 2}
    recipe = load_recipe(
        RECIPE,
        changes={
            "model": str(tiny_checkpoint().folder),
            "output": str(tmp_path / "chain"),
            "pretrain": {
                "texts": [published],
                "shortest_span": 3,
                "optimizer": {**small, "chunk": 4},
                "run": run,
            },
            "stage1": {
                "data": {"train": [published]},
                "dev": {"folder": published},
                "optimizer": small,
                "run": run,
            },
            "evaluate": {"folder": published},
        },
    )
    chain = tmp_path / "chain"
    assert two_stage(recipe) == chain / "3-stage2" / "model"
    report = json.loads((chain / "5-evaluated" / "report.json").read_text(encoding="utf-8"))
    assert [one["model"] for one in report["results"]] == ["base", "1-stage1", "3-stage2", "bm25"]
    for one in report["results"]:
        assert set(one["metrics"]) == {"MRR@10", "Recall@1000"}
    for step in ("0-pretrained", "1-stage1", "3-stage2"):
        model = chain / step / "model"
        card = (model / "README.md").read_text(encoding="utf-8")
        for part in ("Data", "Settings", "Versions", "Licence", "How to load"):
            assert part in card
        assert published in card
        assert Encoder.load(model).encode_queries(["糖尿病吃什么药"]).shape == (1, 32)
