"""What `recipes/embed.py` does to a vocabulary."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from vocabulary import prune_vocabulary

UNREACHABLE = ["##病", "##痛", "CT", "é", "[unused1]", "##，", "a b", "##é"]
REACHABLE = ["ct", "##t", "1", "##1", "病", "，", "-", "α", "##α"]


def _tokenizer(words):
    from corom.models.tokenizer import SPECIAL

    vocabulary = {t: i for i, t in enumerate([*SPECIAL, *words])}
    from tokenizers import models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer.to_str()


FULL = _tokenizer(
    [w for pair in zip(UNREACHABLE, REACHABLE, strict=False) for w in pair] + REACHABLE[8:]
)
WEIGHTS = {
    "embeddings.word_embeddings.weight": np.arange(5 + 17, dtype=np.float32)[:, None].repeat(2, 1)
}
PRUNED = prune_vocabulary(FULL, WEIGHTS)


def test_exactly_the_unreachable_entries_go():
    kept = json.loads(PRUNED.tokenizer_json)["model"]["vocab"]
    assert set(kept) == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *REACHABLE}
    assert sorted(kept.values()) == list(range(len(kept)))


@given(st.text("ct1病，-α abéCT[]unsd#痛", max_size=30))
def test_every_text_keeps_its_tokens_and_their_weights(text):
    old = Tokenizer.from_str(FULL).encode(text)
    new = Tokenizer.from_str(PRUNED.tokenizer_json).encode(text)
    assert old.tokens == new.tokens
    assert [PRUNED.kept[i] for i in new.ids] == old.ids
    rows = PRUNED.weights["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(
        rows[new.ids], WEIGHTS["embeddings.word_embeddings.weight"][old.ids]
    )


@pytest.mark.parametrize("text", ["", "病" * 500, "é̀"])
def test_edges(text):
    assert (
        Tokenizer.from_str(FULL).encode(text).tokens
        == Tokenizer.from_str(PRUNED.tokenizer_json).encode(text).tokens
    )


def test_pruning_twice_changes_nothing():
    again = prune_vocabulary(PRUNED.tokenizer_json, PRUNED.weights)
    assert again.tokenizer_json == PRUNED.tokenizer_json
