"""The embedded model over the bundled passages, served, and Debian's Chromium looking at it.

What is missing is a reason to skip, except with COROM_NEED_BROWSER=1, as in CI: then it fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from web.browser import chromium, installed, service, serving


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Playwright's browser."""
    if "COROM_NEED_BROWSER" not in os.environ:
        pytest.importorskip("playwright", reason="playwright is not installed")
        if not installed():
            pytest.skip("no Chromium: make chromium")
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Any, str]]:
    """The service and its address."""
    if "COROM_NEED_BROWSER" not in os.environ:
        for module in ("sklearn", "tantivy"):
            pytest.importorskip(module, reason="the serve extra is not installed")
    made = service()
    with serving(made) as address:
        yield made, address


@pytest.fixture
def visit(browser, served):
    """Open the page: `visit(width=360, color_scheme="dark", path="#map")`; with
    `routes`, functions answer some addresses instead of the server.

    Afterwards: it asked nobody but its server, put no text into an address, and raised no error.
    """
    opened = []

    def open_(*, width=1180, path="", address=None, routes=None, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.asked, page.faults = [], []
        page.on("request", lambda request: page.asked.append(request))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on(
            "console",
            lambda said: "Content Security Policy" in said.text and page.faults.append(said.text),
        )
        for url, answer in (routes or {}).items():
            page.route(url, answer)
        home = address or served[1]
        page.goto(home + path)
        opened.append((context, page, home))
        return page

    yield open_
    for context, page, home in opened:
        addresses = [request.url for request in page.asked]
        assert all(url.startswith(home) for url in addresses), addresses
        assert not any("%" in url or "?" in url for url in addresses), addresses
        assert "%" not in page.url
        assert page.faults == []
        context.close()
