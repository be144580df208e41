from __future__ import annotations

from corom.training.examples import Row, draw, row_keys, text_key

ROWS = [
    Row("q0", ("p0", "p0b"), ("n0", "n1", "n2", "n3"), "a"),
    Row("q1", ("p1",), (), "a"),
]
POOL = ["p1", "x", "y", "z"]


def test_a_draw_is_a_pure_function_of_seed_epoch_and_row():
    drawn = {
        (seed, epoch): draw(ROWS, 0, negatives=2, seed=seed, epoch=epoch)
        for seed in range(6)
        for epoch in range(6)
    }
    assert all(
        draw(ROWS, 0, negatives=2, seed=seed, epoch=epoch) == found
        for (seed, epoch), found in drawn.items()
    )
    assert {found.positive for found in drawn.values()} == {"p0", "p0b"}
    assert len({found.negatives for found in drawn.values()}) > 5
    for found in drawn.values():
        assert len(set(found.negatives)) == 2


def test_too_few_negatives_are_few_or_filled_from_the_pool():
    assert draw(ROWS, 1, negatives=2, seed=0, epoch=0).negatives == ()
    assert len(draw(ROWS, 0, negatives=9, seed=0, epoch=0).negatives) == 4
    for epoch in range(20):
        filled = draw(ROWS, 1, negatives=3, seed=0, epoch=epoch, pool=POOL)
        assert set(filled.negatives) == {"x", "y", "z"}
        own_first = draw(ROWS, 0, negatives=5, seed=0, epoch=epoch, pool=POOL)
        assert set(own_first.negatives[:4]) == set(ROWS[0].negatives)
        assert own_first.negatives[4] in POOL


def test_what_other_rows_know_to_answer_is_no_random_negative():
    options = {"negatives": 3, "seed": 0, "pool": POOL, "answers": ("p1", "y", "z ")}
    assert all(draw(ROWS, 1, epoch=n, **options).negatives == ("x",) for n in range(20))


def test_a_pool_of_positives_only_ends_the_search():
    assert draw(ROWS, 1, negatives=2, seed=0, epoch=0, pool=["p1", " p1"]).negatives == ()
    assert draw(ROWS, 1, negatives=0, seed=0, epoch=0, pool=POOL).negatives == ()


def test_keys_stand_for_texts():
    assert text_key("头痛") == text_key(" 头痛\n") != text_key("头疼")
    assert text_key("") != 0
    keys = row_keys(ROWS)
    assert keys.shape == (2, 3)
    assert keys[1].tolist() == [text_key("q1"), text_key("p1"), text_key("q1")]
    assert row_keys([]).shape == (0, 1)
