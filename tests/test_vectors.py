import numpy as np
import pytest

from corom.errors import InputError
from corom.vectors import cosines, normalized, truncated

ROWS = np.array([[3, 4], [0, 0], [-1, 0]], np.float32)


def test_rows_get_length_one_and_zero_stays_zero():
    unit = normalized(ROWS)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [-1, 0]])


def test_no_rows_stay_no_rows():
    assert normalized(np.zeros((0, 2), np.float32)).shape == (0, 2)
    assert truncated(np.zeros((0, 2), np.float32), 1).shape == (0, 1)


def test_the_first_numbers_are_kept():
    np.testing.assert_array_equal(truncated(ROWS, 1), ROWS[:, :1])
    np.testing.assert_array_equal(truncated(ROWS, 2), ROWS)


@pytest.mark.parametrize("dim", [0, 3, -1, 1.0, True, None])
def test_a_dim_that_cannot_be_is_refused(dim):
    with pytest.raises(InputError, match="truncate_dim"):
        truncated(ROWS, dim)


def test_cosines_go_row_by_row():
    np.testing.assert_allclose(cosines(ROWS, -2 * ROWS), [-1, 0, -1], atol=1e-7)
