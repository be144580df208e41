import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import InputError
from corom.text import check_texts, clean


@given(st.text())
def test_what_utf8_can_hold_stays_as_it_is(text):
    assert clean(text) == text


@given(st.text(st.characters()))
def test_anything_can_be_encoded_afterwards(text):
    clean(text + "\ud800头痛\udfff" + text).encode()


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert clean("头\ud83d痛") == "头\ufffd痛"


def test_a_split_pair_becomes_its_character():
    assert clean("\ud83d\ude37\udc00") == "😷\ufffd"


def test_texts_pass_in_order_and_lazily():
    def endless():
        while True:
            yield "头痛"

    assert next(check_texts(endless())) == "头痛"
    assert list(check_texts([])) == []
    assert list(check_texts(["", "a", "a"])) == ["", "a", "a"]


@pytest.mark.parametrize("value", ["头痛", b"x"])
def test_one_string_is_refused(value):
    with pytest.raises(InputError, match="not one string"):
        list(check_texts(value))


@pytest.mark.parametrize(("value", "kind"), [(None, "NoneType"), (7, "int")])
def test_what_is_no_iterable_is_refused(value, kind):
    with pytest.raises(InputError, match=f"not {kind}"):
        list(check_texts(value))


def test_the_position_of_a_wrong_item_is_named_and_no_text_repeated():
    with pytest.raises(InputError, match="text 1 is NoneType") as caught:
        list(check_texts(["乙肝", None]))
    assert "乙肝" not in str(caught.value)
