from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.errors import InputError  # noqa: E402
from corom.models.checkpoint import load_checkpoint  # noqa: E402
from corom.readers import read_groups  # noqa: E402
from corom.training import chain as module  # noqa: E402
from corom.training.chain import two_stage  # noqa: E402
from corom.training.recipe import TwoStageSettings  # noqa: E402
from corom.training.tables import from_table  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def recipe(chain_table):
    return from_table(TwoStageSettings, chain_table)


def test_the_chain_leads_from_data_to_figures(recipe, tmp_path):
    seen = []
    model = two_stage(recipe, progress=lambda step, _: seen.append(step))
    chain = tmp_path / "chain"
    assert model == chain / "3-stage2" / "model"
    assert list(dict.fromkeys(seen)) == ["1-stage1", "2-mined", "3-stage2"]
    groups = list(read_groups(chain / "2-mined" / "medical.jsonl"))
    assert all(len(group.negatives) == 2 for group in groups)
    report = json.loads((chain / "5-evaluated" / "report.json").read_text(encoding="utf-8"))
    assert [result["model"] for result in report["results"]] == [
        "base",
        "1-stage1",
        "3-stage2",
        "bm25",
    ]
    settings = [one["settings"] for one in report["results"][:3]]
    assert [one["precision"] for one in settings] == ["fp32"] * 3
    assert all(one["normalize"] for one in settings)  # the base, too: trained by cosine
    assert "3-stage2" in (chain / "5-evaluated" / "README.md").read_text(encoding="utf-8")
    made = json.loads((chain / "3-stage2" / "settings.json").read_text(encoding="utf-8"))
    assert made["settings"]["optimizer"]["learning_rate"] == 5e-4
    assert made["settings"]["optimizer"]["batch"] == 8
    assert made["settings"]["model"] == recipe.model


def test_a_chain_goes_on_where_it_stopped(recipe, tmp_path, monkeypatch):
    def broken(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "mine", broken)
        with pytest.raises(KeyboardInterrupt):
            two_stage(recipe)
    first = tmp_path / "chain" / "1-stage1" / "model" / "model.safetensors"
    stamp = first.stat().st_mtime_ns
    seen = []
    model = two_stage(recipe, progress=lambda step, _: seen.append(step))
    assert "1-stage1" not in seen
    assert first.stat().st_mtime_ns == stamp
    fingerprint = load_checkpoint(model).fingerprint
    assert two_stage(recipe, progress=lambda *_: pytest.fail("there was nothing to do")) == model
    assert load_checkpoint(model).fingerprint == fingerprint


@pytest.mark.parametrize("more", [{}, {"keep_stage1": 0.5}])
def test_the_finished_model_may_keep_a_share_of_the_base_and_of_stage_1(
    chain_table, tmp_path, more
):
    recipe = from_table(TwoStageSettings, {**chain_table, "keep_base": 0.25, **more})
    model, chain = two_stage(recipe), tmp_path / "chain"
    assert model == chain / "4-averaged" / "model"
    stages = [chain / name / "model" for name in ("1-stage1", "3-stage2")]
    base, stage1, stage2, found = (
        load_checkpoint(folder).load_weights() for folder in (recipe.model, *stages, model)
    )
    changed = [name for name in base if not np.array_equal(base[name], stage2[name])]
    assert changed
    share = more.get("keep_stage1", 0.0)
    for name in changed:
        wanted = (0.75 - share) * stage2[name] + share * stage1[name] + 0.25 * base[name]
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=1e-7)
    report = json.loads((chain / "5-evaluated" / "report.json").read_text(encoding="utf-8"))
    assert [each["model"] for each in report["results"]][2:4] == ["3-stage2", "4-averaged"]
    assert "25%" in (model / "README.md").read_text(encoding="utf-8")
    stamp = (model / "model.safetensors").stat().st_mtime_ns
    assert two_stage(recipe) == model
    assert (model / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match=r"was made otherwise \(shares"):
        two_stage(from_table(TwoStageSettings, {**chain_table, **more, "keep_base": 0.3}))
