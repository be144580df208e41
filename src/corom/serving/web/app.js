// Tabs, language, keys: what holds the four panels together.

import { ask, limits } from "./api.js";
import { $, $$ } from "./dom.js";
import { otherLanguage, setLanguage } from "./text.js";
import * as about from "./about.js";
import * as map from "./map.js";
import * as search from "./search.js";
import * as similarity from "./similarity.js";

const panels = { search, similarity, map, about };
const tabs = $$("[role=tab]");
let current = null;

const named = () => location.hash.slice(1) || "search";

function open(name) {
  if (!Object.hasOwn(panels, name)) {
    if (current) return; // "skip to content" is no panel: stay where we are
    name = "search";
  }
  current = name;
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${current}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    $(`#${tab.getAttribute("aria-controls")}`).hidden = !chosen;
  }
  panels[current].enter?.();
}

function go(name) {
  if (location.hash !== `#${name}`) history.pushState(null, "", `#${name}`); // the tab, never a text
  open(name);
}

for (const tab of tabs) tab.addEventListener("click", () => go(tab.getAttribute("aria-controls")));
$("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.click();
  next.focus();
});

$(".brand").addEventListener("click", (event) => {
  event.preventDefault();
  search.leave();
  go("search");
});

addEventListener("popstate", () => open(named()));
addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    panels[current].focus();
  } else if (event.key === "Escape" && typing) event.target.blur();
});

$("#language").addEventListener("click", () => {
  setLanguage(otherLanguage());
  for (const panel of Object.values(panels)) panel.refresh();
});

setLanguage("zh");
for (const panel of Object.values(panels)) panel.start();
open(named());
if (current === "search") search.focus();

// A page may be opened while the server is busy: until this is known, whatever is answered is a
// reason to ask again.
let known = false, learning = false;

async function learn() {
  if (known || learning) return;
  learning = true;
  try {
    const { model, reranker, collection, max_characters } = await ask("v1/about");
    Object.assign(limits, { characters: max_characters, tokens: model.max_length });
    if (collection) search.allow(collection.modes, reranker);
    known = true;
  } catch {
    // Offline, or a key is needed: the first request says so where it is seen.
  }
  learning = false;
}

for (const event of ["key", "answered"]) addEventListener(event, learn);
learn();
