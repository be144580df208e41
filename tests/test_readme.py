"""Both READMEs: what they show runs, what they name exists, and they show the same."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corom import bundled
from corom.cli import main
from corom.models.checkpoint import Checkpoint

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.en.md")
COROM = "damo/nlp_corom_sentence-embedding_chinese-base-medical"


def blocks(readme: str, language: str) -> list[str]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(
    tmp_path: Path, tiny_checkpoint: Callable[..., Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with passages.jsonl, where a small model stands in for the official CoROM."""
    target = tmp_path / "hub" / "models" / COROM
    target.parent.mkdir(parents=True)
    tiny_checkpoint().folder.rename(target)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COROM_OFFLINE", "1")
    monkeypatch.setenv("COROM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    lines = (Path(bundled.__file__).with_name("medical.jsonl")).read_text(encoding="utf-8")
    (tmp_path / "passages.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("readme", READMES)
def test_python_runs(readme: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks(readme, "python"):
        exec(compile(block, readme, "exec"), names)  # noqa: S102
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "(2, 512)"
    assert shown[1].startswith("1 ")  # the passage about the operation
    assert shown[-1].startswith("(3, 32) [")


def test_commands_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line for block in blocks(READMES[0], "bash") for line in block.splitlines()]
    assert len(commands) >= 5
    for line in commands:
        if "cluster" in line:
            pytest.importorskip("sklearn")
        program, *arguments = shlex.split(line, comments=True)
        assert program == "corom"
        assert main(arguments) == 0, capsys.readouterr().err
    assert (place / "vectors.npy").is_file()


def test_both_show_the_same_code() -> None:
    for language in ("python", "bash", "bibtex"):
        chinese, english = (
            [re.sub(r"#.*", "", block) for block in blocks(readme, language)] for readme in READMES
        )
        assert chinese == english


@pytest.mark.parametrize("readme", [*READMES, "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_somewhere(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("readme", READMES)
def test_every_page_is_one_or_two_links_away(readme: str) -> None:
    pages = [ROOT / readme, *(ROOT / "docs").glob("*.md")]
    found = {
        (page.parent / target).resolve()
        for page in pages
        for target in re.findall(r"\]\((?!https?://)([^)#]+\.md)", page.read_text("utf-8"))
    }
    assert {page.name for page in pages[1:] if page.resolve() not in found} == set()


@pytest.mark.parametrize("readme", READMES)
def test_every_extra_is_described(readme: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / readme).read_text(encoding="utf-8")
    for extra in project["optional-dependencies"]:
        assert extra == "dev" or f"`{extra}`" in text


def test_every_make_target_is_described_and_every_named_one_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z0-9-]+):.*## \S", makefile, re.MULTILINE))
    named = {
        name
        for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
        for name in re.findall(r"`make ([a-z0-9-]+)", path.read_text(encoding="utf-8"))
    }
    assert named <= targets
