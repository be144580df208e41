"""What is typed stays where it is until it is submitted."""

from __future__ import annotations

from web.steps import BUSY, FIELD, HITS, QUERY, search

UNSENT = "没有提交的病情"


def bodies(page):
    return [request.post_data or "" for request in page.asked]


def test_the_browser_keeps_no_text_for_back_and_its_session_files(visit):
    page = visit(path="#similarity")
    fields = ("#similarity textarea[name=source]", "#similarity textarea[name=others]")
    for field in fields:
        page.fill(field, UNSENT)
    page.goto("about:blank")
    page.go_back()
    page.wait_for_load_state("networkidle")
    assert [page.input_value(field) for field in fields] == ["", ""]
    every = page.locator("textarea, input:not([type=radio])")
    kept = every.evaluate_all("all => all.map(x => x.autocomplete)")
    assert kept == ["off"] * 5


def test_a_retry_sends_what_was_submitted(visit):
    page = visit()
    page.route("**/v1/search", lambda route: route.fulfill(**BUSY))
    search(page, QUERY)
    page.wait_for_selector("#search .busy")
    page.fill(FIELD, UNSENT)
    with page.expect_request("**/v1/search") as told:
        pass  # by itself
    assert told.value.post_data_json["query"] == QUERY
    page.fill(FIELD, "")
    page.wait_for_selector("#search .busy")
    page.unroute("**/v1/search")
    page.wait_for_selector(HITS)  # an emptied field does not stop it
    assert not any(UNSENT in body for body in bodies(page))


def test_another_language_or_mode_sends_nothing_unsubmitted(visit):
    page = visit()
    search(page, QUERY)
    page.wait_for_selector(HITS)
    page.fill(FIELD, UNSENT)
    page.check("#search input[value=bm25]", force=True)
    page.wait_for_selector(HITS)
    page.click("#tab-similarity")
    page.click("#similarity .sample")
    page.wait_for_selector("#similarity .hits")
    page.fill("#similarity textarea[name=source]", UNSENT)
    page.check("#similarity input[value=matrix]", force=True)
    page.wait_for_selector("#similarity .matrix")
    page.click("#tab-map")
    page.wait_for_selector("#map .dot")
    page.fill("#map input", UNSENT)
    page.wait_for_load_state("networkidle")
    sent = len(page.asked)
    page.click("#language")
    page.wait_for_timeout(200)
    assert len(page.asked) == sent
    assert not any(UNSENT in body for body in bodies(page))


def test_another_language_changes_all_that_is_shown(visit):
    page = visit()
    search(page, QUERY)
    page.wait_for_selector(HITS)
    page.fill(FIELD, "")
    page.click("#tab-map")
    page.wait_for_selector("#map .dot")
    page.locator("#map .dot").nth(3).dispatch_event("click")
    page.wait_for_selector("#map .near button")
    chosen = page.locator("#map .aside h3").inner_text()
    page.click("#language")
    assert page.locator("#map .aside h3").inner_text() == chosen
    assert page.locator("#map .dot.near").count() == 8
    assert page.locator("#map .dot").nth(3).get_attribute("class").endswith("here")
    assert "by vectors" in page.locator("#map .aside .caption").inner_text()
    page.click("#tab-search")
    assert "Best 10 of 182" in page.locator("#search .meta").inner_text()
