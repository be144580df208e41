// 向量地图: a sample of the passages in the plane, their neighbours, and where a query lies.

import { Output, ask, state } from "./api.js";
import { $, h, s } from "./dom.js";
import { number, t } from "./text.js";

const panel = $("#map");
const form = $("form", panel);
const output = new Output($(".output", panel), {
  no_mode: ["noMap", "noMapMore"],
});
// What is near; a new drawing shows it again.
const around = new Output(h("div", { class: "aside", "aria-live": "polite" }));
around.draw = help;
const WIDTH = 1000, EDGE = 46;
const GAP = 14; // pixels from a point to its tip, as in style.css

let map = null; // what the server sent
let outdated = false; // the index has changed since
let height = 720; // of the plane; taller on a narrow screen
let svg, links, dots, tip;
let cursor = 0; // the point the arrow keys are at

const at = ({ x, y }) => [EDGE + x * (WIDTH - 2 * EDGE), height - EDGE - y * (height - 2 * EDGE)];
const short = (point) => point.title || point.text;

function draw() {
  const narrow = matchMedia("(max-width: 44rem)").matches;
  height = narrow ? 1000 : 720;
  const radius = (map.points.length > 600 ? 4 : 7) * (narrow ? 1.8 : 1);
  dots = map.points.map((point, row) => {
    const [cx, cy] = at(point);
    return s("circle", {
      cx, cy, r: radius, class: `dot c${point.group}`,
      onclick: () => choose(row),
      onpointerenter: () => point_at(row),
      onpointerleave: () => { tip.hidden = true; },
    });
  });
  const names = map.groups.map((group, i) => {
    const [x, y] = at(group);
    return s("text", { x, y, class: `name c${i}` }, group.name);
  });
  links = s("g");
  svg = s("svg", {
    viewBox: `0 0 ${WIDTH} ${height}`, tabindex: 0, role: "application", "aria-label": t("mapLabel"),
    onkeydown: move, onblur: () => { tip.hidden = true; },
  }, links, s("g", {}, dots), s("g", {}, names));
  tip = h("div", { class: "tip", hidden: true });
  around.redraw();
  return h("div", { class: "board" },
    h("div", {},
      h("div", { class: "chart" }, svg, tip),
      h("p", { class: "caption" }, t("mapCaption", number(map.points.length), number(map.passages), map.method))),
    around.element);
}

function point_at(row) {
  cursor = row;
  const [x, y] = at(map.points[row]);
  const box = svg.getBoundingClientRect();
  tip.replaceChildren(h("span", {}, short(map.points[row])));
  tip.hidden = false; // before it is measured
  const half = tip.offsetWidth / 2;
  const top = (y / height) * box.height;
  tip.style.left = `${Math.min(Math.max((x / WIDTH) * box.width, half), box.width - half)}px`;
  tip.style.top = `${top}px`;
  tip.classList.toggle("below", top < tip.offsetHeight + GAP);
}

function dim() {
  svg.classList.remove("chosen");
  for (const dot of dots) dot.classList.remove("near", "here");
  links.replaceChildren();
}

function help() {
  dim();
  return h("p", { class: "text" }, t("mapHelp"));
}

function rest() {
  around.stop();
  around.put(help);
}

// Lights up the neighbours of a place and returns the list of them.
function lit(place, near, title, text) {
  dim();
  svg.classList.add("chosen");
  const [x1, y1] = at(place);
  for (const { row } of near) {
    const [x2, y2] = at(map.points[row]);
    dots[row].classList.add("near");
    links.append(s("line", { x1, y1, x2, y2, class: "link" }));
  }
  const neighbour = ({ row, score }) =>
    h("li", {}, h("button", { onclick: () => choose(row) },
      h("span", {}, short(map.points[row])), h("small", {}, score.toFixed(2))));
  return [h("h3", {}, title), h("p", { class: "text" }, text),
    h("ul", { class: "near" }, near.map(neighbour)),
    h("p", { class: "caption" }, t("here"))];
}

async function fetchMap(signal) {
  if (map && !outdated) return;
  map = await ask("v1/map", undefined, signal);
  outdated = false;
  cursor = 0;
}

// Asks about the map that is shown; null if that is outdated.
async function about(what, body, signal) {
  try {
    return await ask(`v1/map/${what}`, { ...body, checksum: map.checksum }, signal);
  } catch (error) {
    if (error.code !== "map_changed") throw error;
    outdated = true;
    return null;
  }
}

function choose(row) {
  const point = map.points[row];
  cursor = row;
  around.show(async (signal) => {
    const near = await about("near", { row }, signal);
    if (!near) {
      open();
      return help;
    }
    return () => {
      const list = lit(point, near, point.title || t("neighbours"), point.text);
      dots[row].classList.add("here");
      return list;
    };
  });
}

function placed() {
  const query = form.elements.query.value.trim();
  if (!query) return;
  output.show(async (signal) => {
    let found = null;
    while (!found) {
      await fetchMap(signal);
      found = await about("place", { query }, signal);
    }
    around.stop(); // what was asked for the drawing before
    around.draw = () => {
      const list = lit(found, found.near, t("yourQuery"), query);
      const [cx, cy] = at(found);
      links.append(s("circle", { cx, cy, r: 12, class: "query" }));
      return list;
    };
    return draw;
  }, drawing);
}

// Arrow keys go to the nearest point in their direction.
function move(event) {
  const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [];
  if (event.key === "Enter") choose(cursor);
  else if (event.key === "Escape") rest();
  else if (dx === undefined) return;
  else {
    const [x, y] = at(map.points[cursor]);
    let best = cursor, least = Infinity;
    map.points.forEach((point, row) => {
      const [px, py] = at(point);
      const along = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      if (along > 0 && along + 2 * aside < least) { least = along + 2 * aside; best = row; }
    });
    point_at(best);
  }
  event.preventDefault();
}

const drawing = () => state(t("drawing"));

function open() {
  output.show(async (signal) => {
    await fetchMap(signal);
    return draw;
  }, drawing);
}

export function start() {
  form.addEventListener("submit", (event) => { event.preventDefault(); placed(); });
}

export const enter = () => { if (!svg) open(); };
export const refresh = () => output.redraw();
export const focus = () => form.elements.query.focus();
