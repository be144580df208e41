from __future__ import annotations

import re
from pathlib import Path

import make_cli
from corom import environment

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_says_what_the_program_does() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == make_cli.render(), "run: make fix"


def test_every_variable_that_is_read_is_on_the_page() -> None:
    source = Path(environment.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'os\.environ\.get\("(\w+)"', source))
    read |= set(re.findall(r'"(\w+_OFFLINE)"', source))
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert len(read) > 5
    assert {name for name in read if f"`{name}`" not in page} == set()
