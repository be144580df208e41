"""plan."""

from __future__ import annotations

import json
from collections.abc import Callable


def test_on_the_command_line(run: Callable) -> None:
    done = run("plan", "--passages", "50e6", "--dim", "256", "--precision", "int8")
    assert done.code == 0, done.err
    assert done.out.startswith("50,000,000 passages of 256 numbers")
    assert "exact int8" in done.out
    assert "hnsw" in done.out
    as_json = json.loads(run("plan", "--passages", "50e6", "--precision", "int8", "--json").out)
    assert as_json["shard_bytes"] == 50e6 * 512
    assert run("plan", "--passages", "-3").code == 2
