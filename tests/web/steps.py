"""What the tests of the page do again and again."""

from __future__ import annotations

import json

QUERY = "空腹的时候胃疼，吃点东西就好了，半夜也会疼醒"
FIELD = "#search input[name=query]"
HITS = "#search .hits > li"
BUSY = {
    "status": 429,
    "headers": {"retry-after": "1", "content-type": "application/json"},
    "body": json.dumps({"error": {"code": "overloaded", "message": "busy"}}),
}
"""What a server answers that has too much to do."""


def search(page, query, by="dense"):
    page.check(f"#search input[value={by}]", force=True)
    page.fill(FIELD, query)
    page.press(FIELD, "Enter")


def fits(page, width, step):
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{step}: {wide} pixels"


def searches(page):
    return [request for request in page.asked if request.url.endswith("/v1/search")]


def texts(page, selector):
    page.wait_for_selector(selector)
    return page.locator(selector).all_inner_texts()
