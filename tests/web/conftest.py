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
