from __future__ import annotations

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
