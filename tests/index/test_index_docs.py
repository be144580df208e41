"""The examples of docs/indexes.md run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corom.index import open_index

PAGE = (Path(__file__).parents[2] / "docs" / "indexes.md").read_text(encoding="utf-8")


def test_the_python_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(compile(block, "docs/indexes.md", "exec"), names)  # noqa: S102
    assert len(blocks) == 3
    said = capsys.readouterr().out
    assert said.startswith("1 ")  # the passage about diabetes
    assert said.endswith("{'department': '儿科', 'date': '2025-03-02'}\n")
    assert len(open_index("my-index")) == 3
