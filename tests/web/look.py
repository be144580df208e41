"""Pictures of the page, for people to look at.

    python tests/web/look.py FOLDER            every panel: wide, narrow, dark, English
    python tests/web/look.py --readme          docs/images/search.png, which the READMEs show

Chinese letters need a font: `apt-get install fonts-noto-cjk`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from web.browser import chromium, service, serving  # noqa: E402
from web.steps import FIELD, search  # noqa: E402

QUERY = "孩子发烧三天了，身上起了红疹"
PICTURE = ROOT / "docs" / "images" / "search.png"


def ask(page: Any, query: str, mode: str = "dense") -> None:
    """Search, and wait for the hits and the growing of their bars."""
    page.click("#tab-search")
    search(page, query, by=mode)
    page.wait_for_selector("#search .sides" if mode == "compare" else "#search .hits")
    page.wait_for_timeout(700)


def tour(browser: Any, address: str, out: Path, **options: Any) -> None:
    """Take a picture of every panel."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)

    def look(name: str) -> None:
        page.screenshot(path=out.with_name(f"{out.name}-{name}.png"), full_page=True)

    look("empty")
    for mode in ("dense", "compare"):
        ask(page, QUERY, mode)
        look(mode)
    page.click("#tab-similarity")
    page.click("#similarity .sample")
    page.wait_for_selector("#similarity .hits li")
    page.wait_for_timeout(600)
    look("similarity")
    page.check("#similarity input[value=matrix]", force=True)
    page.wait_for_selector("#similarity .matrix")
    look("matrix")
    page.click("#tab-map")
    page.wait_for_selector("#map .dot")
    look("map")
    page.fill("#map input", QUERY)
    page.press("#map input", "Enter")
    page.wait_for_selector("#map .query")
    look("placed")
    page.click("#tab-about")
    page.wait_for_selector("#about .facts")
    look("about")
    page.context.set_offline(True)
    page.click("#tab-search")
    page.press(FIELD, "Enter")
    page.wait_for_selector("#search .offline")
    look("offline")
    context.close()


def picture(browser: Any, address: str) -> None:
    """Take the README's picture."""
    page = browser.new_page(viewport={"width": 960, "height": 640})
    page.set_default_timeout(120_000)
    page.goto(address)
    ask(page, QUERY)
    PICTURE.parent.mkdir(exist_ok=True)
    page.screenshot(path=PICTURE)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("folder", nargs="?", type=Path)
    chosen.add_argument("--readme", action="store_true")
    asked = parser.parse_args()
    wide = {"viewport": {"width": 1180, "height": 820}}
    with serving(service()) as address, chromium() as browser:
        if asked.readme:
            return picture(browser, address)
        out = asked.folder
        out.mkdir(parents=True, exist_ok=True)
        tour(browser, address, out / "wide", **wide)
        tour(browser, address, out / "dark", color_scheme="dark", **wide)
        tour(browser, address, out / "narrow", viewport={"width": 360, "height": 720})
    return None


if __name__ == "__main__":
    main()
