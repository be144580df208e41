"""What the READMEs say was measured is what results/ holds, and each file says what made it."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

import make_results
from bench import describe

ROOT = Path(__file__).parents[1]


def test_pages_hold_the_figures_of_results():
    for path, language in make_results.PAGES.items():
        page = path.read_text(encoding="utf-8")
        assert make_results.filled(page, language) == page, "run: python docs/make_results.py"


def test_every_result_has_its_place():
    places = {name: [] for name in make_results.BLOCKS}
    for path in make_results.PAGES:
        for name in re.findall(r"<!-- results:([\w/-]+) -->", path.read_text(encoding="utf-8")):
            places[name].append(path.name)
    readmes = ["README.md", "README.en.md"]
    pages = (readmes, ["encoding.md"], ["indexes.md"])
    assert all(found in pages for found in places.values()), places


def commands(path):
    """Return the command of a file, or those of its parts if they were measured apart."""
    record = json.loads(path.read_text(encoding="utf-8"))
    parts = [record] if "command" in record else list(record.values())
    return [part["command"] for part in [*parts, *record.get("regressions", [])]]


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda p: p.stem)
def test_every_result_names_a_command_that_exists(path):
    for command in commands(path):
        program, script, *arguments = shlex.split(command)
        if program == "corom":
            known = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
            assert f"## corom {script}" in known
        else:
            assert program == "python"
            assert (ROOT / script).is_file()
            sources = (ROOT / script).parent.glob("*.py")
            known = "".join(source.read_text(encoding="utf-8") for source in sources)
        flags = {each for each in arguments if each.startswith("--")}
        assert {flag for flag in flags if not re.search(rf"{flag}(?![\w-])", known)} == set()


def test_a_command_can_be_typed_again(monkeypatch):
    script, arguments = str(ROOT / "benchmarks/bench_stores.py"), ["--only", "pgvector hnsw"]
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    found = describe(threads=1)["command"]
    assert shlex.split(found) == ["python", "benchmarks/bench_stores.py", *arguments]
