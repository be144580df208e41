from __future__ import annotations

import json

import pytest

from corom.training.logs import Log


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_log_grows_and_forgets_what_will_come_again(tmp_path):
    log = Log(tmp_path, step=0, tensorboard=False)
    for step in (1, 2, 3):
        log.write(step, loss=step / 3)
    log.close()
    with log.path.open("a") as file:
        file.write('{"step": 4, "lo')  # a line cut short by a kill
    again = Log(tmp_path, step=2, tensorboard=False)
    again.write(3, loss=1.0)
    assert steps(again.path) == [1, 2, 3]
    assert json.loads(again.path.read_text().splitlines()[1])["loss"] == 2 / 3


def test_tensorboard_gets_the_figures_too(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Log(tmp_path, step=0, tensorboard=True)
    log.write(5, loss=0.5, dev=0.25)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("dev")] == [(5, 0.25)]
