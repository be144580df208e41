"""Long words, tips at the edge, numbers on colours, and the model's card."""

from __future__ import annotations

import pytest

from corom.records import Passage
from web.browser import over, serving
from web.steps import HITS, fits, search

NAME = "Helicobacter_pylori_eradication_guideline_2022_final"
URL = "https://www.nhc.example/wjw/yingyangsuo/201306/7a3ad2a45d5f4d7c9a8b6a3c1e2f4d5b.shtml"
PASSAGES = [
    Passage("guideline-1", "幽门螺杆菌根除。", NAME),
    Passage("2", f"头痛看{URL}", ""),
    Passage("3" * 200, "头痛" + "A" * 3000, URL * 3),
]


@pytest.fixture(scope="module")
def long_words(served):
    """The address of a server with passages that have no place to break a line."""
    with serving(over(PASSAGES, encoder=served[0].encoder)) as address:
        yield address


@pytest.mark.parametrize("width", [360, 1180])
def test_long_names_and_urls_do_not_push_the_page_wider(visit, long_words, width):
    page = visit(width=width, address=long_words)
    search(page, "头痛")
    page.wait_for_selector(HITS)
    assert page.locator(HITS).count() == 3
    fits(page, width, "hits")
    page.check("#search input[value=compare]", force=True)
    page.wait_for_selector("#search .sides")
    fits(page, width, "sides")
    page.click("#tab-map")
    for number, passage in enumerate(PASSAGES):
        page.locator("#map .dot").nth(number).dispatch_event("pointerenter")
        page.locator("#map .dot").nth(number).dispatch_event("click")
        page.locator("#map .aside .text", has_text=passage.text[:8]).wait_for()
        fits(page, width, f"map, {number}")


TIPS_OUTSIDE = """() => {
  const chart = document.querySelector(".chart").getBoundingClientRect();
  return [...document.querySelectorAll(".dot")].filter((dot) => {
    dot.dispatchEvent(new PointerEvent("pointerenter"));
    const tip = document.querySelector(".tip").getBoundingClientRect();
    return tip.top < chart.top || tip.bottom > chart.bottom
      || tip.left < chart.left || tip.right > chart.right || !tip.height;
  }).length;
}"""


@pytest.mark.parametrize("width", [360, 1180])
def test_no_tip_of_the_map_is_cut_off(visit, long_words, width):
    for address in (None, long_words):
        page = visit(width=width, address=address, path="#map")
        page.wait_for_selector("#map .dot")
        assert page.evaluate(TIPS_OUTSIDE) == 0


CELLS = """cells => {
  const rgb = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (color) => {
    const [r, g, b] = color.map((x) => x / 255)
      .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const paper = rgb(getComputedStyle(document.documentElement).backgroundColor);
  return cells.map((cell) => {
    const { opacity, backgroundColor } = getComputedStyle(cell, "::before");
    const cover = rgb(backgroundColor);
    const below = light(paper.map((x, i) => x + (cover[i] - x) * opacity));
    const ink = light(rgb(getComputedStyle(cell).color));
    return Math.max(ink, below) / Math.min(ink, below);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_number_of_the_matrix_can_be_read(visit, scheme):
    rows = [[(row * 10 + column) / 99 for column in range(10)] for row in range(10)]
    answer = {"scores": [1.0] * 9, "matrix": [[-0.2] * 10, *rows], "truncated": []}
    page = visit(
        path="#similarity",
        color_scheme=scheme,
        routes={"**/v1/similarity": lambda route: route.fulfill(json=answer)},
    )
    page.click("#similarity .sample")
    page.wait_for_selector("#similarity .hits")
    page.check("#similarity input[value=matrix]", force=True)
    page.wait_for_selector("#similarity .matrix")
    contrasts = page.locator("#similarity td").evaluate_all(CELLS)
    assert len(contrasts) == 110
    assert min(contrasts) >= 4.5


CARD = """---
license: other
---
# 模型
一段，
两行。
## 步骤
1. 第一步，
   接着写
2. **第二步**

- 甲
  还是甲
- 乙
```sh
# 注释

ls # 不是标题
```
后面的话
```
没有结尾
# 的一段"""


def test_the_card_has_its_lists_and_code(visit):
    def answer(route):
        route.fulfill(json={**route.fetch().json(), "card": CARD})

    page = visit(path="#about", routes={"**/v1/about": answer})
    page.wait_for_selector("#about .card")
    blocks = page.locator("#about .card > *")
    shown = blocks.evaluate_all("all => all.map(x => [x.tagName, x.textContent])")
    assert shown == [
        ["H2", "模型"],
        ["P", "一段， 两行。"],
        ["H3", "步骤"],
        ["OL", "第一步， 接着写第二步"],
        ["UL", "甲 还是甲乙"],
        ["PRE", "# 注释\n\nls # 不是标题"],
        ["P", "后面的话"],
        ["PRE", "没有结尾\n# 的一段"],
    ]
    assert page.locator("#about .card li").count() == 4
