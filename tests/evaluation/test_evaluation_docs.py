"""docs/evaluation.md: the example of the JSON has the keys there are, the first example runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from corom.evaluation import Lexical, evaluate, to_json
from corom.readers import Dataset

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_json_has_the_keys_of_the_page(data: Dataset, dense: Callable) -> None:
    (block,) = blocks("json")
    shown, found = json.loads(block), to_json(evaluate(data, [Lexical(), dense()], splits=["dev"]))
    (result,) = shown.pop("results")
    second = found.pop("results")[1]
    assert set(shown) == set(found)
    assert set(shown["dataset"]) == set(found["dataset"])
    assert set(result) == set(second)
    for part in ("metrics", "settings", "seconds"):
        assert set(result[part]) == set(second[part])
    assert set(result["versus"]["MRR@10"]) == set(second["versus"]["MRR@10"])


def test_the_python_example_runs(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(blocks("python")[0], "docs/evaluation.md", "exec"), names)  # noqa: S102
    assert len(names["report"].results[1].evaluation.per_query) == 20
