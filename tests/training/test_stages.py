from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.errors import InputError  # noqa: E402
from corom.models.checkpoint import load_checkpoint  # noqa: E402
from corom.readers import read_groups  # noqa: E402
from corom.training import stages  # noqa: E402
from corom.training.recipe import from_table  # noqa: E402
from corom.training.stages import TwoStageSettings, load_recipe, steps_of, two_stage  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def table(tiny_checkpoint, tmp_path, dataset):
    checkpoint = tiny_checkpoint()
    return {
        "model": str(checkpoint.folder),
        "output": str(tmp_path / "chain"),
        "stage1": {
            "data": {"train": [str(dataset)], "fill": "random", "negatives": 1},
            "optimizer": {"batch": 8, "epochs": 2, "max_steps": 4, "learning_rate": 1e-3},
            "run": {"device": "cpu", "precision": "fp32", "log_every": 1, "dropout": 0.0},
        },
        "mine": {"depth": 20, "negatives": 2, "relative_margin": "none"},
        "stage2": {"optimizer": {"learning_rate": 5e-4}, "data": {"negatives": 2}},
        "evaluate": {
            "folder": str(dataset),
            "measures": ["MRR@10"],
            "depth": 20,
            "precision": "fp32",
        },
    }


@pytest.fixture
def recipe(table):
    return from_table(TwoStageSettings, table)


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
        patched.setattr(stages, "mine", broken)
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
def test_the_finished_model_may_keep_a_share_of_the_base_and_of_stage_1(table, tmp_path, more):
    recipe = from_table(TwoStageSettings, {**table, "keep_base": 0.25, **more})
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
    with pytest.raises(InputError, match="made from other models"):
        two_stage(from_table(TwoStageSettings, {**table, **more, "keep_base": 0.3}))


def test_stage_2_may_go_on_from_stage_1_and_pretraining_come_first(table, tmp_path):
    table["stage2_from"] = "stage1"
    table["pretrain"] = {"texts": ["text.txt"]}
    steps = steps_of(from_table(TwoStageSettings, table))
    chain = tmp_path / "chain"
    assert steps.pretrain.model == table["model"]
    assert steps.stage1.model == str(chain / "0-pretrained" / "model")
    assert steps.mine.model == steps.stage2.model == str(chain / "1-stage1" / "model")
    assert steps.stage2.data.train == (str(chain / "2-mined" / "medical.jsonl"),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage1": {"model": "x", "data": {"train": ["x"]}}}, r"stage1\.model is set by"),
        ({"stage1": {}}, r"stage1\.data is missing"),
        ({"stage2": {"optimiser": {}}}, r"stage2\.optimiser; did you mean optimizer"),
        ({"stage2": {"data": {"train": ["x"]}}}, r"stage2\.data\.train is what was mined"),
        ({"mine": {"depht": 3}}, r"mine\.depht; did you mean depth"),
        ({"pretrain": {}}, r"pretrain\.texts is missing"),
        ({"keep_base": 1.0}, "keep_base is a share"),
        ({"keep_stage1": -0.1}, "keep_stage1 is a share"),
        ({"keep_base": 0.5, "keep_stage1": 0.5}, r"keep_base \+ keep_stage1"),
        ({"stages": {}}, "unknown setting stages; did you mean stage"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_runs(table, change, message):
    with pytest.raises(InputError, match=message):
        steps_of(from_table(TwoStageSettings, {**table, **change}))


def test_a_recipe_file_is_checked_as_a_whole(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('model = "a"\noutput = "b"\n[stage1.data]\ntrain = ["c.jsonl"]\n')
    assert load_recipe(path).stage1 == {"data": {"train": ["c.jsonl"]}}
    path.write_text('model = "a"\noutput = "b"\n[stage1.data]\ntrain = []\n')
    with pytest.raises(InputError, match=r"data\.train names no file"):
        load_recipe(path)
