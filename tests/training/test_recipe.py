from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.errors import ArtifactError, InputError
from corom.training.chain import two_stage
from corom.training.recipe import TwoStageSettings, check_steps, load_recipe, steps_of
from corom.training.tables import from_table, merged

pytestmark = pytest.mark.torch


def test_stage_2_may_go_on_from_stage_1_and_pretraining_come_first(chain_table, tmp_path):
    chain_table["stage2_from"] = "stage1"
    chain_table["pretrain"] = {"texts": ["text.txt"]}
    steps = steps_of(from_table(TwoStageSettings, chain_table))
    chain = tmp_path / "chain"
    assert steps.pretrain.model == chain_table["model"]
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
        ({"stage2": {"data": 5}}, r"stage2\.data is 5; expected a table"),
        ({"stage2": {"states": "x"}}, r"stage2\.states is set by the chain"),
        ({"stage1": {"states": "x", "data": {"train": ["x"]}}}, r"stage1\.states is set by"),
        ({"mine": {"vectors": "x"}}, r"mine\.vectors is set by"),
        ({"mine": {"data": ["x"]}}, r"mine\.data is set by"),
        ({"sample": {"data": ["x"]}}, r"sample\.data is set by"),
        ({"sample": {"output": "x"}}, r"sample\.output is set by"),
        ({"evaluate": {"folder": "x", "depth": 0}}, r"evaluate\.depth is 0"),
        ({"evaluate": {"folder": "x", "splits": []}}, r"evaluate\.splits and \.measures"),
        ({"pretrain": {}}, r"pretrain\.texts is missing"),
        ({"keep_base": 1.0}, "keep_base is 1.0; expected a share"),
        ({"keep_stage1": -0.1}, "keep_stage1 is -0.1; expected a share"),
        ({"keep_base": 0.5, "keep_stage1": 0.5}, r"keep_base \+ keep_stage1"),
        ({"stages": {}}, "unknown setting stages; did you mean stage"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_runs(chain_table, change, message):
    with pytest.raises(InputError, match=message):
        steps_of(from_table(TwoStageSettings, {**chain_table, **change}))


def test_a_recipe_file_is_checked_as_a_whole(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('model = "a"\noutput = "b"\n[stage1.data]\ntrain = ["c.jsonl"]\n')
    assert load_recipe(path).stage1 == {"data": {"train": ["c.jsonl"]}}
    path.write_text('model = "a"\noutput = "b"\n[stage1.data]\ntrain = []\n')
    with pytest.raises(InputError, match=r"data\.train names no file"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluate": {"folder": "none"}}, "evaluate: none"),
        ({"evaluate": {"splits": ["nosplit"]}}, "evaluate: .*nosplit"),
        ({"evaluate": {"measures": ["Foo@10"]}}, "evaluate: unknown measure 'Foo@10'"),
        ({"evaluate": {"measures": ["MRR@30"]}}, "evaluate: MRR@30 looks deeper than the 20"),
        ({"stage2": {"dev": {"folder": "none"}}}, r"stage2\.dev\.folder: none does not exist"),
        ({"stage2": {"data": {"passage_length": 600}}}, r"data\.passage_length is 600, more"),
        ({"stage2": {"loss": {"matryoshka": [64]}}}, r"stage2\.loss\.matryoshka holds 64"),
        ({"stage2": {"loss": {"teachers": ["none"], "teacher_weight": 1}}}, r"teachers: 'none'"),
        ({"stage1": {"data": {"train": ["none"]}}}, r"stage1\.data\.train: none does not exist"),
        ({"stage1": {"data": {"split": "no"}}}, r"stage1\.data\.train: .* has no split 'no'"),
        ({"mine": {"corpus": "none"}}, r"mine\.corpus: none does not exist"),
        ({"mine": {"max_length": 600}}, r"mine\.max_length is 600, more than the 512 positions"),
        ({"pretrain": {"texts": ["none"]}}, r"pretrain\.texts: none does not exist"),
    ],
)
def test_what_a_later_step_would_stop_at_is_found_before_the_first(
    chain_table, tmp_path, change, message
):
    with pytest.raises(InputError, match=message):
        two_stage(from_table(TwoStageSettings, merged(chain_table, change)))
    assert not (tmp_path / "chain").exists()


def test_a_model_that_an_earlier_step_makes_need_not_be_there(chain_table, tmp_path):
    made = str(tmp_path / "chain" / "1-stage1" / "model")
    for loss in (
        {"teachers": [made], "teacher_weight": 1.0},
        {"reranker": made, "reranker_weight": 1.0},
    ):
        recipe = from_table(TwoStageSettings, merged(chain_table, {"stage2": {"loss": loss}}))
        check_steps(recipe, steps_of(recipe))


def test_a_part_that_cannot_learn_alone_is_found_before_the_first_step(
    chain_table, tiny_checkpoint, tmp_path
):
    chain_table["model"] = str(tiny_checkpoint(name="mean", pooling="avg").folder)
    chain_table["stage2"]["optimizer"]["trained"] = "last layer"
    with pytest.raises(InputError, match=r"stage2\.optimizer\.trained .* needs \[CLS\]"):
        two_stage(from_table(TwoStageSettings, chain_table))
    chain_table["model"] = str(tmp_path / "none")
    with pytest.raises(ArtifactError, match="none"):
        two_stage(from_table(TwoStageSettings, chain_table))
    assert not (tmp_path / "chain").exists()
