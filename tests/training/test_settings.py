from __future__ import annotations

import pytest

from corom.errors import InputError
from corom.training.settings import PretrainSettings, TrainSettings, load_settings
from corom.training.tables import as_table, from_table

MINIMAL = {"model": "m", "output": "o", "data": {"train": ["a.jsonl"]}}


def test_defaults_are_the_cards():
    settings = from_table(TrainSettings, MINIMAL)
    optimizer = settings.optimizer
    assert (optimizer.epochs, optimizer.batch, optimizer.learning_rate) == (3.0, 64, 5e-6)
    assert settings.data.passage_length == 128
    assert settings.dev is None
    assert from_table(TrainSettings, as_table(settings)) == settings


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"data": {"train": []}}, r"data\.train names no file"),
        ({"data": {"train": ["a"], "negatives": -1}}, r"data\.negatives is -1"),
        (
            {"data": {"train": ["a"], "query_length": 2}},
            r"data\.query_length is 2; it must be a whole number from 3",
        ),
        ({"data": {"train": ["a"], "weights": {"kg": -1}}}, r"data\.weights\.kg is -1"),
        ({"data": {"train": ["a"], "pool": {"kg": 0.5}}}, r"set data\.fill = .random. too"),
        (
            {"data": {"train": ["a"], "fill": "random", "pool": {"kg": 2}}},
            r"data\.pool\.kg is 2\.0; expected",
        ),
        ({"data": {"train": ["a"], "bad_rows": "ignore"}}, "expected 'raise' or 'skip'"),
        ({"loss": {"temperature": 0}}, r"loss\.temperature is 0\.0; expected more than 0"),
        ({"loss": {"base_weight": -0.1}}, r"loss\.base_weight is -0\.1"),
        ({"loss": {"matryoshka": [0]}}, r"loss\.matryoshka"),
        ({"loss": {"teachers": ["t"]}}, "go together"),
        ({"loss": {"teacher_weight": 1}}, "go together"),
        ({"loss": {"reranker": "r"}}, r"loss\.reranker and loss\.reranker_weight"),
        ({"loss": {"reranker_temperature": 0}}, r"loss\.reranker_temperature"),
        (
            {
                "data": {"train": ["a"], "negatives": 0},
                "loss": {"reranker": "r", "reranker_weight": 1},
            },
            r"set data\.negatives too",
        ),
        (
            {"loss": {"teachers": ["t", "u"], "teacher_weight": 1, "teacher_loss": "mse"}},
            "one teacher only",
        ),
        ({"loss": {"graded_weight": 1}}, "go together"),
        ({"data": {"train": ["a"], "graded": ["b"]}}, "go together"),
        ({"optimizer": {"epochs": 0}}, r"optimizer\.epochs is 0"),
        ({"optimizer": {"batch": 0}}, r"optimizer\.batch is 0"),
        ({"optimizer": {"max_steps": 0}}, r"optimizer\.max_steps"),
        ({"optimizer": {"layer_decay": 1.5}}, r"optimizer\.layer_decay"),
        ({"optimizer": {"warmup": 1}}, r"optimizer\.warmup"),
        ({"optimizer": {"schedule": "exp"}}, "expected 'linear' or 'cosine'"),
        ({"loss": {"contrast_weight": 0}}, r"loss\.contrast_weight is 0, and no other"),
        ({"data": {"train": ["a"], "weights": {"*.jsonl": 1}}}, r"weights: '\*\.jsonl' says"),
        ({"dev": {"folder": "d", "measure": "MRR"}}, r"dev\.measure is 'MRR'"),
        ({"dev": {"folder": "d", "max_passages": 0}}, r"dev\.max_passages"),
        ({"dev": {"folder": "d", "every": -1}}, r"dev\.every"),
        ({"finish": {"keep_base": 1}}, r"finish\.keep_base"),
        ({"finish": {"average_last": 5}}, r"exceeds run\.keep"),
        ({"run": {"seed": -1}}, r"run\.seed"),
        ({"run": {"dropout": 1}}, r"run\.dropout"),
        ({"run": {"keep": 0}}, r"run\.keep"),
        ({"trian": {}}, "unknown setting trian"),
    ],
)
def test_impossible_settings_are_refused_by_name(table, message):
    with pytest.raises(InputError, match=message):
        from_table(TrainSettings, {**MINIMAL, **table})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_rate": 0.9}, "mask_rate"),
        ({"span_length": 10}, "span_length is below"),
        ({"shortest_span": 0}, "shortest_span"),
        ({"head_layers": -1}, "head_layers"),
        ({"temperature": 0}, r"temperature is 0\.0; expected more than 0"),
        ({"scratch": {"layers": 2}}, r"scratch\.hidden is missing"),
    ],
)
def test_impossible_pretraining_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        from_table(PretrainSettings, {"model": "m", "output": "o", "texts": ["t"], **change})


def test_a_file_of_settings(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(
        'model = "m"\noutput = "o"\n[data]\ntrain = ["a"]\nweights = { "toy*" = 2 }\n'
        '[loss]\nmask_margin = "none"\n'
    )
    settings = load_settings(TrainSettings, path)
    assert settings.data.weights == {"toy*": 2.0}
    assert settings.loss.mask_margin is None
