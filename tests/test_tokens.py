from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from corom.errors import ArtifactError
from corom.tokens import TokenCutter, batches

ODD = [
    "",
    " ",
    "头痛",
    "ct mri",
    "头痛" * 300,
    "a" * 99,
    "a" * 5000,
    "abc " * 900,
    "\x00\x07头",
    "é̀ 😷",
]


@pytest.fixture
def tokenizer_json(tiny_checkpoint):
    return tiny_checkpoint().tokenizer_json


@pytest.mark.parametrize("max_length", [2, 3, 16, 128, 512])
def test_tokens_are_the_librarys_own_truncation(tokenizer_json, max_length):
    library = Tokenizer.from_str(tokenizer_json)
    library.enable_truncation(max_length)
    for text, tokens in zip(
        ODD, TokenCutter(tokenizer_json, max_length=max_length).cut(ODD), strict=True
    ):
        assert tokens.ids.tolist() == library.encode(text).ids, text[:10]
        assert tokens.truncated == bool(library.encode(text).overflowing)


@given(text=st.text("头痛abc12 ，.-", max_size=4000))
def test_shortening_long_texts_first_changes_no_token(text, tiny_tokenizer):
    library = Tokenizer.from_str(tiny_tokenizer)
    library.enable_truncation(8)
    assert (
        TokenCutter(tiny_tokenizer, max_length=8).cut([text])[0].ids.tolist()
        == library.encode(text).ids
    )


@pytest.fixture(scope="module")
def tiny_tokenizer(tmp_path_factory):
    from tokenizers import models, normalizers, pre_tokenizers, processors

    words = {
        t: i
        for i, t in enumerate(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "头", "痛", "a", "##a", "##b", "1", "，"]
        )
    }
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer.to_str()


def test_a_prefix_is_text_and_a_suffix_is_one_token_in_the_last_place(tokenizer_json):
    plain = TokenCutter(tokenizer_json, max_length=8)
    framed = TokenCutter(tokenizer_json, max_length=8, prefix="治疗", suffix="[SEP]")
    short, full = (tokens.ids.tolist() for tokens in framed.cut(["头痛", "头痛" * 9]))
    assert short == [*plain.cut(["治疗头痛"])[0].ids, short[-1]]
    assert len(full) == 8
    assert full[-1] == short[-1]


def test_a_suffix_is_looked_up_by_its_name_not_cut_as_a_text(tiny_checkpoint, tiny_shape):
    shape = replace(tiny_shape, vocabulary=tiny_shape.vocabulary + 1)  # one more: [unused0]
    tokenizer_json = tiny_checkpoint(shape=shape, name="more").tokenizer_json
    cut = TokenCutter(tokenizer_json, max_length=8, suffix="[unused0]").cut(["头"])[0]
    plain = TokenCutter(tokenizer_json, max_length=8).cut(["头"])[0]
    assert cut.ids.tolist() == [*plain.ids.tolist(), tiny_shape.vocabulary]


def test_counts_include_special_tokens_and_stop_at_the_maximum(tokenizer_json):
    assert TokenCutter(tokenizer_json, max_length=6).count(["", "头", "头痛" * 9]) == [2, 3, 6]
    assert TokenCutter(tokenizer_json, max_length=6).cut([]) == []


@given(lengths=st.lists(st.integers(1, 40), max_size=60), budget=st.integers(1, 200))
def test_every_text_is_in_one_batch_within_the_budget(lengths, budget):
    texts = [np.full(n, i + 1, np.int32) for i, n in enumerate(lengths)]
    rows = []
    longest = 38 if max(lengths, default=0) <= 38 else 40
    for batch in batches(texts, budget=budget, longest=longest):
        assert batch.ids.shape[1] <= longest
        rows += batch.rows.tolist()
        assert batch.ids.size <= max(budget, batch.ids.shape[1])
        for row, ids, length in zip(batch.rows, batch.ids, batch.lengths, strict=True):
            np.testing.assert_array_equal(ids[:length], texts[row])
            assert not ids[length:].any()
    assert sorted(rows) == list(range(len(lengths)))


@given(st.lists(st.integers(2, 40), max_size=40), st.integers(1, 200))
def test_batches_without_padding_are_full(lengths, budget):
    texts = [np.full(n, i + 1, np.int32) for i, n in enumerate(lengths)]
    found = list(batches(texts, budget=budget, packed=True))
    order = [row for batch in found for row in batch.rows.tolist()]
    assert order == sorted(range(len(lengths)), key=lambda row: -lengths[row])
    for batch in found:
        assert len(batch.rows) == 1 or batch.lengths.sum() <= budget
        for row, ids, length in zip(batch.rows, batch.ids, batch.lengths, strict=True):
            np.testing.assert_array_equal(ids[:length], texts[row])
            assert not ids[length:].any()
    for batch, after in pairwise(found):
        assert batch.lengths.sum() + after.lengths[0] > budget


def test_the_padded_length_of_a_text_does_not_depend_on_its_neighbours():
    alone = {n: next(batches([np.ones(n, np.int32)], budget=9)).ids.shape[1] for n in range(1, 41)}
    together = batches([np.ones(n, np.int32) for n in alone], budget=10_000)
    assert all(alone[n] == batch.ids.shape[1] for batch in together for n in batch.lengths)
    assert alone[1] == 4
    assert alone[4] == 4
    assert alone[5] == 8


@pytest.mark.parametrize("broken", ["", "{}", '{"model": {"type": "WordPiece"}}'])
def test_a_tokenizer_that_cannot_be_used_is_refused(broken):
    with pytest.raises(ArtifactError, match="tokenizer cannot be used"):
        TokenCutter(broken, max_length=8)
