"""Pictures of the page in all its states, for people to look at: `python tests/web/look.py OUT`.

With `--readme` it makes the one picture the README shows instead, docs/images/search.png.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

from browser import chromium, serving  # noqa: E402

QUERY = "空腹的时候胃疼，吃点东西就好了，半夜也会疼醒"


def service() -> Any:
    """Return the embedded model over the bundled passages."""
    from corom.encoder import Encoder
    from corom.serving.collection import bundled_collection
    from corom.serving.service import Service
    from corom.serving.settings import ServeSettings

    encoder = Encoder.load()
    card = (ROOT / "src/corom/models/embedded/corom-medical/README.md").read_text()
    return Service(
        encoder,
        collection=bundled_collection(encoder),
        card=card,
        settings=ServeSettings(port=0, timeout_s=300),
    )


def ask(page: Any, query: str, mode: str = "dense") -> None:
    """Search and wait for the hits."""
    page.click("#tab-search")
    page.fill("#search input[name=query]", query)
    page.check(f"#search input[value={mode}]", force=True)
    page.press("#search input[name=query]", "Enter")
    page.wait_for_selector("#search .hits li >> nth=0", timeout=60_000)
    page.wait_for_timeout(700)


def look(page: Any, out: Path, name: str, *, whole: bool = True) -> None:
    """Take one picture."""
    page.screenshot(path=out / f"{name}.png", full_page=whole)


def tour(browser: Any, address: str, out: Path) -> None:
    """Take a picture of every panel: wide, narrow, dark, English."""
    for name, width, scheme in (
        ("wide", 1180, "light"),
        ("dark", 1180, "dark"),
        ("narrow", 360, "light"),
    ):
        context = browser.new_context(
            viewport={"width": width, "height": 820}, color_scheme=scheme, device_scale_factor=1.5
        )
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        look(page, out, f"{name}-empty")
        ask(page, QUERY)
        look(page, out, f"{name}-dense")
        ask(page, QUERY, "both")
        look(page, out, f"{name}-both")
        page.click("#tab-similarity")
        page.click("#similarity .sample")
        page.wait_for_selector("#similarity .hits li")
        page.wait_for_timeout(600)
        look(page, out, f"{name}-similarity")
        page.check("#similarity input[value=matrix]", force=True)
        page.wait_for_selector("#similarity .matrix")
        look(page, out, f"{name}-matrix")
        page.click("#tab-map")
        page.wait_for_selector("#map .dot")
        look(page, out, f"{name}-map")
        page.fill("#map input", QUERY)
        page.press("#map input", "Enter")
        page.wait_for_selector("#map .query")
        look(page, out, f"{name}-placed")
        page.click("#tab-about")
        page.wait_for_selector("#about .facts")
        look(page, out, f"{name}-about")
        context.close()


def main() -> None:
    """Make the pictures."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with serving(service()) as address, chromium() as browser:
        tour(browser, address, out)


if __name__ == "__main__":
    main()
