"""What a value must be."""

import numpy as np
import pytest

from corom.checks import require_one_of, require_whole
from corom.errors import InputError


@pytest.mark.parametrize("value", [1, 7])
def test_whole_numbers_within_the_bounds_pass(value):
    require_whole("k", value, high=7)


@pytest.mark.parametrize("value", [0, 8, -1, 2.0, True, "3", None, np.float32(3)])
def test_others_are_named_with_the_bounds(value):
    with pytest.raises(InputError, match=r"^k is .*; it must be a whole number from 1 to 7$"):
        require_whole("k", value, high=7)


def test_a_lower_bound_alone_is_all_that_is_said():
    with pytest.raises(InputError, match=r"^links is 1; it must be a whole number from 2$"):
        require_whole("links", 1, low=2)


def test_a_word_is_one_of_those_known():
    require_one_of("cut", "words", ("words", "bigrams"))
    with pytest.raises(InputError, match=r"^cut 'chars' is none of words, bigrams$"):
        require_one_of("cut", "chars", ("words", "bigrams"))
