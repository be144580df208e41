from __future__ import annotations

import numpy as np
import pytest

from corom.errors import InputError
from corom.training.drawing import RowBatches
from corom.training.examples import Row
from corom.training.rows import Rows, answers_of
from corom.training.run_settings import OptimizerSettings
from corom.training.settings import RowSettings


def test_answers_of_other_rows_are_known_and_never_drawn():
    # Twelve rows, three answers to each of four questions.
    rows = [Row(f"q{n % 4}", (f"a{n}",), (), "a") for n in range(12)]
    answers = {f"q{q}": {f"a{q}", f"a{q + 4}", f"a{q + 8}"} for q in range(4)}
    found = Rows(rows, pool=[f"a{n}" for n in range(12)], answers=answers_of(rows))
    data = RowSettings(train=("a",), fill="random", negatives=9)
    drawing = RowBatches(found, data, OptimizerSettings(batch=2, epochs=3), seed=0)
    assert len(drawing) > 6
    for number in range(len(drawing)):
        drawn = drawing.drawn(number, slice(None))
        for one, known in zip(drawn, drawing.answers(number, slice(None)), strict=True):
            assert set(known) == answers[one.query]
            assert len(one.negatives) == 9
            assert not answers[one.query].intersection(one.negatives)


def test_nothing_is_drawn_unless_it_is_asked_for():
    rows = [Row(f"q{n}", (f"a{n}",), ("own",) * (n % 2), "a") for n in range(8)]
    found = Rows(rows, pool=[f"a{n}" for n in range(8)])
    data = RowSettings(train=("a",), negatives=2)
    drawing = RowBatches(found, data, OptimizerSettings(batch=8, epochs=1), seed=0)
    for one in drawing.drawn(0, slice(None)):
        assert one.negatives == ("own",) * (int(one.query[1]) % 2)


def drawing(positives, *, unique=True, batch, topics=None, **optimizer):
    rows = Rows([Row(f"q{n}", (f"a{positive}",), (), "a") for n, positive in enumerate(positives)])
    data = RowSettings(train=("a",), unique=unique)
    chosen = OptimizerSettings(**{"batch": batch, "epochs": 1, **optimizer})
    return RowBatches(rows, data, chosen, seed=0, topics=topics)


def test_a_run_has_as_many_batches_as_its_steps_take():
    assert len(drawing(range(6), batch=2, epochs=9, max_steps=3, accumulate=4)) == 12
    assert len(drawing(range(6), batch=2, epochs=2, max_steps=9, accumulate=4)) == 6
    assert len(drawing(range(6), batch=2, accumulate=3)) == 3


def test_topics_are_those_of_the_plan():
    topics = np.arange(12) % 3
    plan = drawing(range(12), batch=4, topics=topics).plan
    assert {len(set(topics[batch].tolist())) for batch in plan.rows} == {1}


def test_uses_that_unique_leaves_out_are_noted():
    # Half of all rows have one positive: a batch of two takes one of them and one other.
    positives = [0] * 20 + list(range(1, 6))
    report = {"rows": 25, "left out": {"label 0": 1}}
    noted = drawing(positives, unique=True, batch=2).noted(report)
    assert noted["uses of rows an epoch"] == {"wanted": 25, "planned": 10}
    assert noted["left out"] == {"label 0": 1, "uses of rows an epoch, by data.unique": 14}
    assert noted["rows"] == 25
    for kept, unique in ((positives, False), (range(25), True)):
        noted = drawing(kept, unique=unique, batch=2).noted(report)
        assert noted["uses of rows an epoch"] == {"wanted": 25, "planned": 24}
        assert noted["left out"] == {"label 0": 1}


def test_rows_that_fill_no_step_are_told_apart_by_their_cause():
    with pytest.raises(InputError, match=r"25 rows an epoch give 0 .* = 8.*data\.unique"):
        drawing([n % 5 for n in range(25)], unique=True, batch=8)
    for positives, unique in ((range(5), True), ([0] * 5, False)):
        with pytest.raises(InputError, match=r"5 rows an epoch give 0 .*lower optimizer\.batch$"):
            drawing(positives, unique=unique, batch=8)
    with pytest.raises(InputError, match=r"give 2 batches .* = 2 in 1 epochs, and a step takes 3"):
        drawing(range(5), unique=True, batch=2, accumulate=3)
