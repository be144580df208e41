"""docs/training.md names every setting, and the recipes are valid."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.training import mining_settings, run_settings, settings
from corom.training.recipe import (
    EvaluateSettings,
    TwoStageSettings,
    load_recipe,
    steps_of,
)
from corom.training.tables import read_toml

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
KINDS = {
    "corom-medical-generated-reranker": settings.RerankerSettings,
    "corom-medical-reranker": settings.RerankerSettings,
    "generated-mine": mining_settings.MineSettings,
    "generated-sample": mining_settings.SampleSettings,
    "reranker": settings.RerankerSettings,
    "reranker-mine": mining_settings.MineSettings,
    "reranker-sample": mining_settings.SampleSettings,
}


@pytest.mark.parametrize(
    "kind",
    [
        settings.DataSettings,
        mining_settings.HoldoutSettings,
        settings.LossSettings,
        mining_settings.MineSettings,
        settings.PretrainSettings,
        settings.RerankerSettings,
        settings.RowSettings,
        mining_settings.SampleSettings,
        settings.ScratchSettings,
        settings.TrainSettings,
        run_settings.DevSettings,
        run_settings.FinishSettings,
        run_settings.OptimizerSettings,
        run_settings.RerankerDevSettings,
        run_settings.RunSettings,
        EvaluateSettings,
        TwoStageSettings,
    ],
)
def test_every_setting_is_documented(kind):
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for field in fields(kind):
        assert f"`{field.name}`" in text or f"`[{field.name}]`" in text, field.name


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_is_valid(path):
    if "stage1" in read_toml(path):
        steps = steps_of(load_recipe(path))
        assert steps.stage2.data.train != steps.stage1.data.train
    else:
        kind = KINDS.get(path.stem, settings.TrainSettings)
        assert settings.load_settings(kind, path).data
    assert str(path.name) in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
