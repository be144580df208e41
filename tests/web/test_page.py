"""What people do with the page, in a real browser."""

from __future__ import annotations

import pytest

from corom.records import Passage
from corom.reranker import Reranker, SecondPass
from web.browser import over, service, serving
from web.steps import HITS, QUERY, fits, search, searches, texts


def test_search_ranks_and_highlights(visit):
    page = visit()
    assert page.locator("#search .examples button").count() == 6
    assert page.locator(HITS).count() == 0
    search(page, QUERY)
    scores = [float(text.split()[0]) for text in texts(page, f"{HITS} .score")]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert any("溃疡" in text for text in texts(page, HITS)[:5])
    assert page.locator(f"{HITS} mark.word").count() > 0  # how many, is the model's choice of hits
    assert page.locator(f"{HITS} mark.sentence").count() >= 10
    bars = page.locator(f"{HITS} .bar i").evaluate_all("all => all.map(x => x.offsetWidth)")
    assert min(bars) > 0
    assert [request.method for request in searches(page)] == ["POST"]


def test_an_example_is_a_click_away_and_both_ways_stand_side_by_side(visit):
    page = visit()
    page.click("#search .examples button >> nth=0")
    page.wait_for_selector(HITS)
    page.check("#search input[value=compare]", force=True)
    page.wait_for_selector("#search .sides")
    assert page.locator("#search .sides ol").count() == 2
    assert page.locator("#search .sides h2").all_inner_texts()[0].startswith("语义")
    assert page.locator("#search .move").count() == 20
    boxes = [page.locator("#search .sides ol").nth(n).bounding_box() for n in (0, 1)]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_both_ways_give_one_ranking(visit):
    page = visit()
    with page.expect_request("**/v1/search") as asked:
        search(page, QUERY, by="both")
    assert asked.value.post_data_json["mode"] == "both"
    scores = [float(text.split()[0]) for text in texts(page, f"{HITS} .score")]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] >= 0
    assert page.locator("#search label", has_text="混合").count() == 1
    page.click("#language")
    assert page.locator("#search label", has_text="Both").count() == 1


def test_similarity_as_bars_and_as_a_matrix(visit):
    page = visit(path="#similarity")
    page.click("#similarity .sample")
    scores = [float(text.split()[0]) for text in texts(page, "#similarity .hits .score")]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert "内镜止血" in page.locator("#similarity .hits li").first.inner_text()
    page.check("#similarity input[value=matrix]", force=True)
    cells = texts(page, "#similarity .matrix td")
    assert len(cells) == 36
    assert cells[::7] == ["1.00"] * 6
    assert [cells[1], cells[2]] == [cells[6], cells[12]]


def test_the_map_shows_neighbours_and_where_a_text_lies(visit):
    page = visit(path="#map")
    page.wait_for_selector("#map .dot")
    assert page.locator("#map .dot").count() == 182
    assert page.locator("#map .name").count() == 10
    page.locator("#map .dot").first.dispatch_event("click")
    assert len(texts(page, "#map .near button")) == 8
    assert page.locator("#map .dot.near").count() == 8
    page.click("#map .near button >> nth=0")
    page.wait_for_selector("#map .dot.here", state="attached")
    page.fill("#map input", QUERY)
    page.press("#map input", "Enter")
    page.wait_for_selector("#map .query")
    assert any("溃疡" in text for text in texts(page, "#map .near button")[:5])
    assert page.locator("#map .aside .text").inner_text() == QUERY


def test_a_map_is_drawn_anew_when_the_index_has_changed(visit, served):
    made, _ = served
    versions = [
        over([Passage(str(n), f"头痛{n}天") for n in range(count)], encoder=made.encoder)
        for count in (6, 5, 4)
    ]
    with serving(versions[0]) as address:
        page = visit(path="#map", address=address)
        page.wait_for_selector("#map .dot")
        versions[0].collection = versions[1].collection
        page.locator("#map .dot").last.dispatch_event("click")
        page.locator("#map .dot >> nth=5").wait_for(state="detached")
        page.wait_for_selector("#map .dot")
        assert page.locator("#map .dot").count() == 5
        page.locator("#map .dot").last.dispatch_event("click")
        assert len(texts(page, "#map .near button")) == 4
        versions[0].collection = versions[2].collection
        page.fill("#map input", "头痛3天")
        page.press("#map input", "Enter")
        page.wait_for_selector("#map .query")
        assert page.locator("#map .dot").count() == 4
        assert len(texts(page, "#map .near button")) == 4
        page.close()


def test_everything_can_be_done_from_the_keyboard(visit):
    page = visit(path="#similarity")
    page.locator(".skip").focus()
    assert page.locator(".skip").bounding_box()["x"] > 0
    page.keyboard.press("Enter")
    assert page.locator("#similarity").is_visible()
    page.locator("#tab-similarity").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#search").is_visible()
    page.keyboard.press("/")
    page.keyboard.type("头痛")
    page.keyboard.press("Enter")
    page.wait_for_selector(HITS)
    page.keyboard.press("Escape")
    page.locator("#tab-search").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#map svg")
    page.locator("#map svg").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#map .tip").is_visible()
    page.keyboard.press("Enter")
    assert len(texts(page, "#map .near button")) == 8
    page.keyboard.press("Escape")
    assert page.locator("#map .near").count() == 0
    page.locator("#tab-map").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#about .facts")
    page.go_back()
    assert page.locator("#map").is_visible()


@pytest.mark.parametrize("width", [360, 1180])
def test_nothing_is_wider_than_the_screen(visit, width):
    page = visit(width=width)
    fits(page, width, "empty")
    search(page, QUERY)
    page.wait_for_selector(HITS)
    fits(page, width, "hits")
    page.check("#search input[value=compare]", force=True)
    page.wait_for_selector("#search .sides")
    fits(page, width, "sides")
    page.click("#tab-similarity")
    page.click("#similarity .sample")
    page.wait_for_selector("#similarity .hits")
    page.check("#similarity input[value=matrix]", force=True)
    page.wait_for_selector("#similarity .matrix")
    fits(page, width, "matrix")
    page.click("#tab-map")
    page.wait_for_selector("#map .dot")
    page.locator("#map .dot").first.dispatch_event("click")
    page.wait_for_selector("#map .near")
    fits(page, width, "map")
    page.click("#tab-about")
    page.wait_for_selector("#about .card")
    fits(page, width, "about")


CONTRAST = """element => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)
      .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ink = light(getComputedStyle(element).color);
  const paper = light(getComputedStyle(document.documentElement).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(visit, scheme):
    page = visit(color_scheme=scheme)
    search(page, QUERY)
    page.wait_for_selector(HITS)
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) is (scheme == "dark")
    for selector, least in (
        (f"{HITS} .text", 7),
        (f"{HITS} mark.word", 4.5),
        (f"{HITS} .score", 4.5),
        ("#search .meta", 4.5),
        ("footer p", 4.5),
    ):
        assert page.locator(selector).first.evaluate(CONTRAST) >= least, selector


def test_while_it_loads_a_sketch_is_shown(visit):
    page = visit()
    page.route("**/v1/search", lambda route: (page.wait_for_timeout(600), route.continue_()))
    search(page, QUERY)
    page.wait_for_selector("#search .wait")
    page.wait_for_selector(HITS)
    assert page.locator("#search .wait").count() == 0


def test_nothing_found_and_too_long(visit):
    page = visit()
    search(page, "qwxz", by="bm25")
    page.wait_for_selector("#search .state")
    assert "没有找到" in page.locator("#search .state").inner_text()
    search(page, "痛" * 8193)
    page.wait_for_selector("#search .hint")
    assert "8,193" in page.locator("#search .hint").inner_text()
    search(page, "肚子痛" * 100)
    page.wait_for_selector(HITS)
    assert "前 256 个词元" in page.locator("#search .hint").inner_text()


def test_when_the_server_is_busy_the_page_waits_and_asks_again(visit, served):
    door = served[0].door
    page = visit()
    door.inside += 10_000
    search(page, QUERY)
    page.wait_for_selector("#search .busy")
    assert "自动再试" in page.locator("#search .busy").inner_text()
    door.inside -= 10_000
    page.wait_for_selector(HITS)
    assert len(searches(page)) >= 2


def test_offline_is_told_and_mended_when_the_net_comes_back(visit):
    page = visit()
    page.context.set_offline(True)
    search(page, QUERY)
    page.wait_for_selector("#search .offline")
    assert "连不上" in page.locator("#search .offline").inner_text()
    page.context.set_offline(False)
    page.wait_for_selector(HITS)


def test_a_map_that_cannot_ask_says_so_beside_it(visit):
    page = visit(path="#map")
    page.wait_for_selector("#map .dot")
    page.context.set_offline(True)
    page.locator("#map .dot").first.dispatch_event("click")
    page.wait_for_selector("#map .aside .offline")
    page.context.set_offline(False)
    assert len(texts(page, "#map .near button")) == 8


def test_in_english(visit):
    page = visit()
    search(page, QUERY)
    page.wait_for_selector(HITS)
    page.click("#language")
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == "corom · medical text search"
    page.get_by_text("Best 10 of 182 passages").wait_for()
    assert page.locator("nav").inner_text().split() == ["Search", "Similarity", "Map", "About"]
    page.click("#language")
    assert page.locator("html").get_attribute("lang") == "zh-CN"


def test_about_tells_what_runs(visit):
    page = visit(path="#about")
    facts = texts(page, "#about .facts dd")
    assert facts[:2] == ["corom-medical", "512"]
    assert "182" in facts[7]
    assert page.locator("#about .card").count() == 1


def test_with_a_reranker_its_order_comes_first_and_the_models_is_a_click_away(visit, tiny_reranker):
    second = SecondPass(reranker=Reranker.load(tiny_reranker, precision="fp32"), depth=10)
    with serving(service(second=second)) as address:
        page = visit(address=address)
        page.wait_for_selector("#search input[value=reranked]:checked", state="attached")
        with page.expect_response("**/v1/search") as told:
            page.fill("#search input[name=query]", QUERY)
            page.press("#search input[name=query]", "Enter")
        assert told.value.json()["reranked"] is True
        ids = [f"#{hit['id']}" for hit in told.value.json()["hits"]]
        assert texts(page, f"{HITS} .id") == ids
        with page.expect_response("**/v1/search") as told:
            page.check("#search input[value=dense]", force=True)
        assert told.value.json()["reranked"] is False
        page.click("#tab-about")
        assert "reranker，读最前面的 10 段" in texts(page, "#about .facts dd")
        page.close()


def test_without_a_reranker_it_is_not_offered(visit):
    page = visit()
    page.wait_for_load_state("networkidle")
    assert page.locator("#search input[value=reranked]").is_disabled()
    assert not page.locator("#search label:has(input[value=reranked])").is_visible()


def test_what_is_typed_is_text_and_never_a_command(visit):
    page = visit(path="#similarity")
    evil = "<img src=x onerror=alert(1)><b>头</b>"
    page.fill("#similarity textarea[name=source]", evil)
    page.fill("#similarity textarea[name=others]", evil)
    page.click("#similarity form button >> nth=0")
    assert texts(page, "#similarity .hits .text") == [evil]
    assert page.locator("#similarity .hits img, #similarity .hits b").count() == 0
