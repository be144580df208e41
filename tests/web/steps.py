"""What the tests of the page do again and again."""

from __future__ import annotations

QUERY = "空腹的时候胃疼，吃点东西就好了，半夜也会疼醒"
FIELD = "#search input[name=query]"
HITS = "#search .hits > li"


def search(page, query, by="dense"):
    page.check(f"#search input[value={by}]", force=True)
    page.fill(FIELD, query)
    page.press(FIELD, "Enter")


def texts(page, selector):
    page.wait_for_selector(selector)
    return page.locator(selector).all_inner_texts()
