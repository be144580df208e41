from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from corom.errors import ArtifactError
from corom.models.config import Encoding, Shape
from corom.models.tokenizer import read_tokenizer, vocabulary

TOKENS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "头", "痛", "ct", "检", "查", "cafe", "café"),
    *("a", "##b", "1", "##2", "，", "①", "CT", "naive"),
)


def shape(entries=None):
    entries = entries or len(TOKENS)
    return Shape(layers=1, hidden=4, heads=1, intermediate=4, vocabulary=entries)


def write_vocabulary(folder, tokens=TOKENS, end="\n"):
    (folder / "vocab.txt").write_text("\n".join(tokens) + end, encoding="utf-8")


def read(folder, **options):
    encoding = options.pop("encoding", Encoding())
    return read_tokenizer(folder, shape=options.pop("shape", shape()), encoding=encoding)


def tokens(tokenizer_json, text):
    return Tokenizer.from_str(tokenizer_json).encode(text).tokens


def test_a_vocabulary_alone_becomes_berts_word_pieces(tmp_path):
    write_vocabulary(tmp_path)
    made = read(tmp_path)
    assert tokens(made, "") == ["[CLS]", "[SEP]"]
    assert tokens(made, "头痛ＣＴ?CT检查") == [
        *("[CLS]", "头", "痛", "[UNK]", "[UNK]", "ct", "检", "查", "[SEP]")
    ]
    assert tokens(made, "ab\u0007\u3000café 12①")[1:-1] == ["a", "##b", "cafe", "[UNK]"]
    assert tokens(made, "[MASK]头[SEP]")[1:-1] == ["[MASK]", "头", "[SEP]"]
    assert tokens(made, "a" + "b" * 99)[1:-1] == ["a"] + ["##b"] * 99
    assert tokens(made, "a" + "b" * 100)[1:-1] == ["[UNK]"]


def test_the_last_line_needs_no_end_and_odd_line_breaks_stay_tokens(tmp_path):
    odd = [*TOKENS, "\u2028", "\x85"]
    write_vocabulary(tmp_path, odd, end="")
    made = json.loads(read(tmp_path, shape=shape(len(odd))))
    assert vocabulary(made) == odd


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"do_lower_case": False}, ["CT", "café"]),
        ({"do_lower_case": False, "strip_accents": True}, ["CT", "cafe"]),
        ({"do_lower_case": True, "strip_accents": False}, ["ct", "café"]),
        ({}, ["ct", "cafe"]),
    ],
)
def test_tokenizer_config_has_the_last_word_on_case_and_accents(tmp_path, options, expected):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    write_vocabulary(tmp_path)
    made = read(tmp_path)
    assert tokens(made, "CT café")[1:-1] == expected
    (tmp_path / "vocab.txt").unlink()
    opposite = made.replace('"lowercase":true', '"lowercase":false')
    (tmp_path / "tokenizer.json").write_text(opposite, encoding="utf-8")
    if "do_lower_case" in options:
        assert read(tmp_path) == made
    else:
        with pytest.raises(ArtifactError, match=r"tokenizer_config\.json does not state do_lower_"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ({"lowercase": False}, "do_lower_case"),
        ({"strip_accents": False}, "strip_accents"),
        ({"handle_chinese_chars": False}, "tokenize_chinese_chars"),
        ({"strip_accents": True}, None),  # what lower-casing does without a word on accents
    ],
)
def test_a_normalizer_that_transformers_would_replace_unseen_is_refused(tmp_path, own, key):
    write_vocabulary(tmp_path)
    tokenizer = json.loads(read(tmp_path))
    tokenizer["normalizer"].update(own)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    if key is None:
        assert tokens(read(tmp_path), "CT café")[1:-1] == ["ct", "cafe"]
        return
    with pytest.raises(ArtifactError, match=f"does not state {key}: tokenizer.json has False"):
        read(tmp_path)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", key: True}  # which looks at neither
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert json.loads(read(tmp_path))["normalizer"] == tokenizer["normalizer"]


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("added_tokens.json", {"CT": 18}),
        ("special_tokens_map.json", {"additional_special_tokens": ["CT"]}),
        ("special_tokens_map.json", {"cls_token": {"content": "CT", "lstrip": False}}),
        ("tokenizer_config.json", {"extra_special_tokens": {"drug": "CT"}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"18": {"content": "CT"}}}),
    ],
)
def test_a_token_that_would_be_cut_into_pieces_is_refused(tmp_path, name, stated):
    write_vocabulary(tmp_path)
    known = Tokenizer.from_str(read(tmp_path))
    (tmp_path / name).write_text(json.dumps(stated))
    with pytest.raises(ArtifactError, match=rf"{name} states the token 'CT'.*save_pretrained"):
        read(tmp_path)
    known.add_special_tokens(["CT"])
    (tmp_path / "tokenizer.json").write_text(known.to_str())
    assert tokens(read(tmp_path), "头CT")[1:-1] == ["头", "CT"]


def test_a_vocabulary_of_another_kind_of_tokenizer_is_refused(tmp_path):
    write_vocabulary(tmp_path)
    plain = read(tmp_path)
    for name in ("tokenizer_config.json", "config.json"):
        for kind in ("BertTokenizer", "BertTokenizerFast", None):
            (tmp_path / name).write_text(json.dumps({"tokenizer_class": kind}))
            assert read(tmp_path) == plain
        (tmp_path / name).write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
        with pytest.raises(ArtifactError, match=rf"{name}: tokenizer_class 'BertJapanese"):
            read(tmp_path)
        (tmp_path / name).unlink()


def test_a_cut_at_the_front_is_refused(tmp_path):
    write_vocabulary(tmp_path)
    tokenizer = Tokenizer.from_str(read(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text('{"truncation_side": "left"}')
    with pytest.raises(ArtifactError, match="truncation_side left is not supported"):
        read(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer.enable_truncation(4, direction="left")
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    with pytest.raises(ArtifactError, match="truncation_side left is not supported"):
        read(tmp_path)


def test_a_tokenizer_json_is_taken_without_truncation_and_padding(tmp_path):
    write_vocabulary(tmp_path)
    plain = read(tmp_path)
    tokenizer = Tokenizer.from_str(plain)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    assert tokens(read(tmp_path), "头痛检查") == ["[CLS]", *"头痛检查", "[SEP]"]
    assert json.loads(read(tmp_path)) == json.loads(plain)


def test_a_missing_or_broken_tokenizer_is_refused_by_name(tmp_path):
    with pytest.raises(ArtifactError, match=r"holds neither tokenizer\.json nor vocab\.txt"):
        read(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xd6\xd0\n")
    with pytest.raises(ArtifactError, match=r"vocab\.txt is not UTF-8"):
        read(tmp_path)
    write_vocabulary(tmp_path, ["[PAD]", "[UNK]", "[CLS]", "头"])
    with pytest.raises(ArtifactError, match=r"vocab\.txt lacks the token \[SEP\]"):
        read(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"vocab\.txt lacks the token \[PAD\]"):
        read(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {}}}')
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: tokenizer 'BPE' is not supported"):
        read(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: tokenizer None is not"):
        read(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is not valid JSON"):
        read(tmp_path)


def test_ids_beyond_the_models_vocabulary_are_refused(tmp_path):
    write_vocabulary(tmp_path)
    with pytest.raises(ArtifactError, match=r"goes up to token id 19, .* has 19 entries"):
        read(tmp_path, shape=shape(19))
    assert read(tmp_path, shape=shape(50))


def without_frame(tokenizer):
    tokenizer["post_processor"] = None


def without_end(tokenizer):
    tokenizer["post_processor"]["single"].pop()


def turned(tokenizer):
    tokenizer["post_processor"]["single"].reverse()


def of_another_vocabulary(tokenizer):
    tokenizer["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [4]


def with_a_third(tokenizer):
    tokenizer["post_processor"]["single"] *= 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (without_frame, r"\[\]"),
        (without_end, r"\[2\]"),
        (turned, r"\[3, 2\]"),
        (of_another_vocabulary, r"\[4, 3\]"),
        (with_a_third, r"\[2, 3, 2, 3\]"),
    ],
)
def test_a_tokenizer_that_frames_no_text_is_refused_by_name(tmp_path, change, found):
    write_vocabulary(tmp_path)
    tokenizer = json.loads(read(tmp_path))
    change(tokenizer)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    wanted = rf"tokenizer\.json must put \[CLS\] and \[SEP\] .* \[2, 3\], not {found}"
    with pytest.raises(ArtifactError, match=wanted):
        read(tmp_path)


def test_a_bert_processing_frames_texts_too(tmp_path):
    write_vocabulary(tmp_path)
    tokenizer = json.loads(read(tmp_path))
    tokenizer["post_processor"] = {
        "type": "BertProcessing",
        "sep": ["[SEP]", 3],
        "cls": ["[CLS]", 2],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert tokens(read(tmp_path), "头") == ["[CLS]", "头", "[SEP]"]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("pre_tokenizer", {"type": "of tomorrow"}),
        ("post_processor", {"special_tokens": {}}),  # whose template names some: a panic
    ],
)
def test_a_tokenizer_the_library_cannot_use_is_refused_by_name(tmp_path, part, change):
    write_vocabulary(tmp_path)
    tokenizer = json.loads(read(tmp_path))
    tokenizer[part].update(change)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be used .*; fetch it again"):
        read(tmp_path)


def test_a_suffix_must_be_a_token(tmp_path):
    write_vocabulary(tmp_path)
    assert read(tmp_path, encoding=Encoding(query_suffix="[SEP]"))
    with pytest.raises(ArtifactError, match="the passage_suffix must be one token"):
        read(tmp_path, encoding=Encoding(passage_suffix="头痛"))


def test_vocabulary_fills_the_gap_a_repeated_line_leaves(tmp_path):
    write_vocabulary(tmp_path, [*TOKENS, "头", "end"])
    made = json.loads(read(tmp_path, shape=shape(30)))
    listed = vocabulary(made)
    assert (listed[5], listed[20], listed[21]) == ("[unused-id-5]", "头", "end")
