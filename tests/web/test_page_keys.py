"""A server that asks for keys, is busy when the page opens, or whose index lacks something."""

from __future__ import annotations

import pytest

from corom.records import Passage
from corom.serving.keys import add_key
from serving.test_protection import MARK
from web.browser import over, serving
from web.steps import BUSY, FIELD, HITS, search

PASSAGES = [
    Passage("1", "头痛先看有没有发热。", "头痛"),
    Passage("2", "高血压要每天量。", "高血压"),
]
CHECKED = "document.querySelector('#search input[name=mode]:checked').value"


@pytest.fixture(scope="module")
def guarded(served, tmp_path_factory):
    """The address of a server with a key, and the key."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    key = add_key(file, "page")
    with serving(over(PASSAGES, encoder=served[0].encoder, keys_file=file)) as address:
        yield address, key


def enter(page, key):
    page.fill("#key-field", key)
    page.press("#key-field", "Enter")


def toast(page, text):
    page.locator("#toast.shown", has_text=text).wait_for()


def test_a_server_with_keys_asks_for_one(visit, guarded, caplog):
    address, key = guarded
    page = visit(address=address)
    search(page, MARK)
    page.wait_for_selector("#key:not([hidden])")
    enter(page, "wrong")
    toast(page, "密钥不对")
    enter(page, key)
    page.wait_for_selector(HITS)
    assert key not in page.content()
    assert key not in caplog.text


def test_a_wrong_key_is_said_to_be_wrong_and_none_is_not(visit, guarded):
    address, key = guarded
    page = visit(address=address)
    search(page, "头痛")
    page.wait_for_selector("#key:not([hidden])")
    page.click("#tab-about")
    page.locator("#about .state", has_text="需要密钥").wait_for()
    assert page.locator("#toast").inner_text() == ""
    enter(page, "wrong")
    toast(page, "密钥不对")
    assert page.locator("#key").is_visible()
    enter(page, key)
    page.wait_for_selector("#about .facts")
    page.click("#tab-search")
    page.wait_for_selector(HITS)  # it waited for the key, too
    assert page.locator("#key").is_hidden()


def test_a_key_that_no_header_can_carry_is_refused_in_words(visit, guarded):
    address, key = guarded
    page = visit(address=address)
    search(page, "头痛")
    page.wait_for_selector("#key:not([hidden])")
    enter(page, f"密钥 {key}")
    toast(page, "英文字母")
    assert page.locator("#search .offline").count() == 0
    enter(page, key)
    page.wait_for_selector(HITS)


def with_reranker(route):
    """Answer /v1/about as a server with a reranker does."""
    about = route.fetch().json()
    route.fulfill(json={**about, "reranker": {"name": "second", "depth": 10}})


def reranked(request):
    return request.url.endswith("/v1/search") and request.post_data_json["rerank"]


def test_a_page_opened_while_the_server_was_busy_learns_of_the_reranker_later(visit):
    page = visit(routes={"**/v1/about": lambda route: route.fulfill(**BUSY)})
    page.wait_for_load_state("networkidle")
    page.unroute("**/v1/about")
    page.route("**/v1/about", with_reranker)
    page.fill(FIELD, "头痛")
    with page.expect_request(reranked):  # what is shown is what is checked
        page.press(FIELD, "Enter")
    assert page.evaluate(CHECKED) == "reranked"


def test_all_modes_fit_a_narrow_screen_in_both_languages(visit):
    page = visit(width=360, routes={"**/v1/about": with_reranker})
    page.wait_for_selector("#search label:has(input[value=reranked])")
    labels = page.locator("#search .choice label")
    assert labels.count() == 5
    for _ in ("zh", "en"):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        boxes = [labels.nth(number).bounding_box() for number in range(5)]
        assert max(box["height"] for box in boxes) < 36  # one line
        assert min(box["x"] for box in boxes) >= 0
        page.click("#language")


@pytest.mark.parametrize("mode", ["bm25", "both", "compare", "dense"])
def test_a_late_answer_leaves_the_mode_that_was_chosen(visit, mode):
    held = []
    page = visit(routes={"**/v1/about": lambda route: held.append(route)})
    page.check("#search input[value=bm25]", force=True)
    page.check(f"#search input[value={mode}]", force=True)
    with_reranker(held[0])
    page.wait_for_selector("#search label:has(input[value=reranked])")
    assert page.evaluate(CHECKED) == mode


def test_a_mode_that_is_not_offered_gives_way(visit, served):
    held = []
    with serving(over(PASSAGES, encoder=served[0].encoder, dense=False)) as address:
        page = visit(address=address, routes={"**/v1/about": lambda route: held.append(route)})
        search(page, "头痛", by="both")
        page.locator("#search .state", has_text="不支持").wait_for()
        held[0].continue_()
        page.wait_for_selector(HITS)  # of what was asked, by the first mode that is offered
        assert page.evaluate(CHECKED) == "bm25"
        page.close()


@pytest.mark.parametrize(
    ("passages", "chinese", "english"),
    [(PASSAGES, "没有向量", "no vectors"), ([], "还没有段落", "no passages")],
)
def test_what_has_no_map_says_why_in_both_languages(visit, served, passages, chinese, english):
    few = over(passages, encoder=served[0].encoder, dense=not passages)
    with serving(few) as address:
        page = visit(address=address, path="#map")
        page.locator("#map .state", has_text=chinese).wait_for()
        page.click("#language")
        page.locator("#map .state", has_text=english).wait_for()
        page.close()
