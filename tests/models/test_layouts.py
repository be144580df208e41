from __future__ import annotations

import json

import pytest

from corom.errors import ArtifactError
from corom.models.config import Encoding
from corom.models.layouts import read_encoding, read_shape

CONFIG = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 10,
    "max_position_embeddings": 512,
}
OLD_POOLING = {
    "word_embedding_dimension": 8,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}
NEW_POOLING = {"embedding_dimension": 8, "pooling_mode": "mean", "include_prompt": True}
OLD = "sentence_transformers.models"
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}


def write(folder, name, value):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def modules(*names, types=None):
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    types = types or {name: f"{OLD}.{name}" for name in names}
    return [
        {"idx": i, "name": str(i), "path": paths.get(name, ""), "type": types.get(name, name)}
        for i, name in enumerate(names)
    ]


def read(folder, positions=512):
    return read_encoding(folder, positions=positions)


# --- shape


def test_a_shape_is_read_with_its_defaults(tmp_path):
    write(tmp_path, "config.json", CONFIG)
    shape = read_shape(tmp_path)
    assert (shape.layers, shape.hidden, shape.heads, shape.intermediate) == (2, 8, 2, 16)
    assert (shape.vocabulary, shape.positions, shape.token_types) == (10, 512, 2)
    assert (shape.layer_norm_eps, shape.activation) == (1e-12, "gelu")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("gelu_new", "gelu_tanh"), ("gelu_pytorch_tanh", "gelu_tanh"), ("relu", "relu")],
)
def test_activations_get_one_name_each(tmp_path, theirs, ours):
    write(tmp_path, "config.json", {**CONFIG, "hidden_act": theirs})
    assert read_shape(tmp_path).activation == ours


def test_an_old_config_without_model_type_counts_by_its_architecture(tmp_path):
    config = {key: value for key, value in CONFIG.items() if key != "model_type"}
    write(tmp_path, "config.json", {**config, "architectures": ["BertForMaskedLM"]})
    assert read_shape(tmp_path).layers == 2


def test_modelscope_may_keep_the_shape_in_configuration_json(tmp_path):
    model = {**CONFIG, "type": "bert", "model_type": None}
    del model["model_type"]
    write(tmp_path, "configuration.json", {"model": model})
    assert read_shape(tmp_path).hidden == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "roberta"}, r"config.json: model_type 'roberta' is not supported"),
        ({"model_type": None, "architectures": None}, "model_type '' is not supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"hidden_act": "silu"}, "hidden_act 'silu' is not supported, only gelu"),
        ({"is_decoder": True}, "is_decoder True"),
        ({"num_attention_heads": 3}, "config.json: hidden 8 cannot be divided among 3 heads"),
        ({"hidden_size": "8"}, "config.json: hidden is '8'; it must be a whole number"),
    ],
)
def test_what_is_not_a_bert_encoder_is_refused_by_value(tmp_path, change, message):
    write(tmp_path, "config.json", {**CONFIG, **change})
    with pytest.raises(ArtifactError, match=message):
        read_shape(tmp_path)


def test_a_missing_or_broken_config_is_refused_by_name(tmp_path):
    with pytest.raises(ArtifactError, match=r"config\.json is missing"):
        read_shape(tmp_path)
    write(tmp_path, "config.json", '{"model_type": "bert"')
    with pytest.raises(ArtifactError, match=r"config\.json is not valid JSON"):
        read_shape(tmp_path)
    write(tmp_path, "config.json", [CONFIG])
    with pytest.raises(ArtifactError, match=r"config\.json must hold a JSON object, not list"):
        read_shape(tmp_path)
    write(tmp_path, "config.json", {"model_type": "bert", "num_hidden_layers": 2})
    with pytest.raises(ArtifactError, match=r"config\.json lacks hidden_size"):
        read_shape(tmp_path)


# --- encoding


def test_without_any_statement_the_encoding_is_modelscopes_default(tmp_path):
    assert read(tmp_path) == Encoding()
    assert read(tmp_path, positions=64).max_length == 64


def test_modelscope_states_everything(tmp_path):
    configuration = {
        "model": {"emb_pooler_type": "avg_first_last", "normalize": True},
        "preprocessor": {"max_length": 256, "boq": "问：", "bod": "答：", "eoq": "。", "eod": "，"},
    }
    write(tmp_path, "configuration.json", configuration)
    assert read(tmp_path) == Encoding(
        pooling="avg_first_last",
        normalize=True,
        max_length=256,
        query_prefix="问：",
        passage_prefix="答：",
        query_suffix="。",
        passage_suffix="，",
    )


def test_modelscope_prompts_in_the_model_part_count_too(tmp_path):
    write(tmp_path, "configuration.json", {"model": {"boq": "问："}, "preprocessor": None})
    assert read(tmp_path) == Encoding(query_prefix="问：")


@pytest.mark.parametrize("pooling", [OLD_POOLING, NEW_POOLING, {**OLD_POOLING, **NEW_POOLING}])
@pytest.mark.parametrize("types", [None, NEW])
def test_sentence_transformers_old_and_new_forms(tmp_path, pooling, types):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling", "Normalize", types=types))
    write(tmp_path, "1_Pooling/config.json", pooling)
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 96, "do_lower_case": False})
    prompts = {"prompts": {"query": "问：", "document": "答："}}
    write(tmp_path, "config_sentence_transformers.json", prompts)
    assert read(tmp_path) == Encoding(
        pooling="avg", normalize=True, max_length=96, query_prefix="问：", passage_prefix="答："
    )


def test_sentence_transformers_without_normalize_length_and_prompts(tmp_path):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling"))
    write(tmp_path, "1_Pooling/config.json", {"pooling_mode": "cls"})
    assert read(tmp_path) == Encoding(max_length=512)
    assert read(tmp_path, positions=40).max_length == 40
    write(tmp_path, "config_sentence_transformers.json", {"prompts": {"passage": "答："}})
    assert read(tmp_path).passage_prefix == "答："


def test_the_length_since_version_5_4_is_the_tokenizers(tmp_path):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling", types=NEW))
    write(tmp_path, "1_Pooling/config.json", NEW_POOLING)
    write(tmp_path, "sentence_bert_config.json", {"transformer_task": "feature-extraction"})
    write(tmp_path, "tokenizer_config.json", {"model_max_length": 100})
    assert read(tmp_path).max_length == 100
    write(tmp_path, "tokenizer_config.json", {"model_max_length": 10**30})
    assert read(tmp_path).max_length == 512


@pytest.mark.parametrize(
    ("pooling", "shown"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling max_tokens is not supported"),
        ({**OLD_POOLING, "pooling_mode_cls_token": True}, "pooling avg and cls is not supported"),
        ({**OLD_POOLING, "pooling_mode": "cls"}, "pooling avg and cls is not supported"),
        ({"pooling_mode": ["mean", "max"]}, "pooling avg and max is not supported"),
        ({"pooling_mode": "lasttoken"}, "pooling lasttoken is not supported"),
        ({"word_embedding_dimension": 8}, "pooling nothing is not supported"),
    ],
)
def test_other_poolings_are_refused_by_name(tmp_path, pooling, shown):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling"))
    write(tmp_path, "1_Pooling/config.json", pooling)
    with pytest.raises(ArtifactError, match=rf"1_Pooling.config\.json: {shown}"):
        read(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("Transformer", "Pooling", "LayerNorm"),
        ("Transformer", "Pooling", "Dense", "Dense"),
        ("Transformer", "Dense", "Pooling"),
        ("Transformer", "Pooling", "Normalize", "Dense"),
        ("Transformer", "Transformer", "Pooling"),
        ("WordEmbeddings", "Pooling"),
    ],
)
def test_other_modules_or_orders_are_refused_by_name(tmp_path, names):
    write(tmp_path, "modules.json", modules(*names))
    with pytest.raises(
        ArtifactError, match=f"lists {', '.join(names)}; corom reads Transf.* Dense"
    ):
        read(tmp_path)


@pytest.mark.parametrize("path", ["", "../2_Dense", "/2_Dense", "a/2_Dense"])
def test_a_dense_outside_a_folder_of_its_own_is_refused(tmp_path, path):
    listed = modules("Transformer", "Pooling", "Dense")
    listed[2]["path"] = path
    write(tmp_path, "modules.json", listed)
    with pytest.raises(ArtifactError, match="the Dense lies in"):
        read(tmp_path)


def test_wrong_lists_of_modules_are_refused(tmp_path):
    write(tmp_path, "modules.json", modules())
    with pytest.raises(ArtifactError, match="lists nothing"):
        read(tmp_path)
    write(tmp_path, "modules.json", {"0": "Transformer"})
    with pytest.raises(ArtifactError, match=r"modules\.json must hold a list"):
        read(tmp_path)
    moved = modules("Transformer", "Pooling")
    moved[0]["path"] = "0_Transformer"
    write(tmp_path, "modules.json", moved)
    with pytest.raises(ArtifactError, match="the Transformer lies in '0_Transformer'"):
        read(tmp_path)


def test_a_missing_pooling_file_is_named(tmp_path):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling"))
    with pytest.raises(ArtifactError, match=r"1_Pooling.config\.json is missing"):
        read(tmp_path)


def test_what_would_change_the_text_unseen_is_refused(tmp_path):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling"))
    write(tmp_path, "1_Pooling/config.json", {**OLD_POOLING, "include_prompt": False})
    assert read(tmp_path).pooling == "avg"
    write(tmp_path, "config_sentence_transformers.json", {"prompts": {"query": "问："}})
    with pytest.raises(ArtifactError, match="include_prompt false is not supported"):
        read(tmp_path)
    # The first token that is no prompt is not [CLS], which pooling cls would be silently.
    write(tmp_path, "1_Pooling/config.json", {"pooling_mode": "cls", "include_prompt": False})
    with pytest.raises(ArtifactError, match="include_prompt false is not supported"):
        read(tmp_path)
    write(tmp_path, "sentence_bert_config.json", {"do_lower_case": True})
    with pytest.raises(ArtifactError, match=r"sentence_bert_config\.json: do_lower_case"):
        read(tmp_path)


def test_a_cross_encoder_reads_what_its_tokenizer_says_else_all_positions(tmp_path):
    write(tmp_path, "config.json", {"architectures": ["BertForSequenceClassification"]})
    assert read(tmp_path).max_length == 512
    assert read(tmp_path, positions=1024).max_length == 512
    write(tmp_path, "tokenizer_config.json", {"model_max_length": 300})
    assert read(tmp_path).max_length == 300
    assert read(tmp_path, positions=100).max_length == 100
    write(tmp_path, "modules.json", modules("Transformer", types=NEW))  # sentence-transformers 6
    assert read(tmp_path).max_length == 300
    write(tmp_path, "modules.json", modules("Transformer", "Dense"))
    with pytest.raises(
        ArtifactError, match=r"modules\.json lists Transformer, Dense; of a reranker"
    ):
        read(tmp_path)
    (tmp_path / "modules.json").unlink()
    write(tmp_path, "configuration.json", {"task": "text-ranking"})  # ModelScope's default
    assert read(tmp_path).max_length == 128
    write(tmp_path, "configuration.json", {"preprocessor": {"max_length": 64}})
    assert read(tmp_path).max_length == 64


def test_both_layouts_must_agree_where_both_speak(tmp_path):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling", "Normalize"))
    write(tmp_path, "1_Pooling/config.json", OLD_POOLING)
    write(tmp_path, "configuration.json", {"task": "sentence-embedding"})
    assert read(tmp_path) == Encoding(pooling="avg", normalize=True, max_length=512)
    model = {"emb_pooler_type": "avg", "normalize": True}
    write(tmp_path, "configuration.json", {"model": model, "preprocessor": {"max_length": 64}})
    assert read(tmp_path) == Encoding(pooling="avg", normalize=True, max_length=64)
    write(tmp_path, "configuration.json", {"model": {**model, "normalize": False}})
    with pytest.raises(ArtifactError, match=r"states normalize False, the sentence-tr.* True"):
        read(tmp_path)
    write(tmp_path, "configuration.json", {"model": {**model, "emb_pooler_type": "cls"}})
    with pytest.raises(ArtifactError, match=r"states pooling 'cls', the sentence-tr.* 'avg'"):
        read(tmp_path)


def test_a_disagreement_about_a_prefix_does_not_quote_it(tmp_path):
    write(tmp_path, "modules.json", modules("Transformer", "Pooling"))
    write(tmp_path, "1_Pooling/config.json", OLD_POOLING)
    write(tmp_path, "config_sentence_transformers.json", {"prompts": {"query": "问病"}})
    write(tmp_path, "configuration.json", {"preprocessor": {"boq": "保密"}})
    with pytest.raises(ArtifactError, match="query_prefix a text of 2 characters") as error:
        read(tmp_path)
    assert "保密" not in str(error.value)


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"model": {"emb_pooler_type": "cls_before_pooler"}}, "pooling 'cls_before_pooler'"),
        ({"model": {"emb_pooler_type": 1}}, "emb_pooler_type must be text, not 1"),
        ({"model": {"normalize": "yes"}}, "normalize must be true or false, not 'yes'"),
        ({"model": []}, None),
        ({"model": ["bert"]}, "model must be an object, not list"),
        (
            {"preprocessor": {"max_length": 1}},
            "max_length is 1; it must be a whole number from 2 to 512",
        ),
        ({"preprocessor": {"max_length": "128"}}, "max_length must be a whole number, not '128'"),
        ({"preprocessor": {"max_length": 600}}, "max_length 600 is more than the model's 512"),
    ],
)
def test_wrong_modelscope_values_are_refused(tmp_path, configuration, message):
    write(tmp_path, "configuration.json", configuration)
    if message is None:
        assert read(tmp_path) == Encoding()
        return
    with pytest.raises(ArtifactError, match=message):
        read(tmp_path)
