"""What the READMEs say was measured is what results/ holds."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_readme_holds_the_figures_of_results(maker, language):
    page = maker.PAGES[language].read_text(encoding="utf-8")
    assert maker.filled(page, language) == page, "run: python docs/make_results.py"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_result_has_its_place(maker, language):
    page = maker.PAGES[language].read_text(encoding="utf-8")
    for name in maker.BLOCKS:
        assert page.count(f"<!-- results:{name} -->") == 1
