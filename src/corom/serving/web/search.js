// 检索: a query, ranked passages; reranked, by meaning, by words, by both, or two ways side by side.

import { Output, ask, copyCurl, cut, refusal, state } from "./api.js";
import { $, h } from "./dom.js";
import { EXAMPLES, number, t } from "./text.js";

const panel = $("#search");
const form = $("form", panel);
const field = $("input", form);
const output = new Output($(".output", panel));
const K = 10;

let submitted = ""; // what is typed after it was not sent, and is not until it is submitted
let touched = false; // whether somebody chose a mode

const mode = () => $("input[name=mode]:checked", panel).value;
const body = (query, by) => {
  const rerank = by === "reranked";
  return { query, mode: rerank ? "dense" : by, rerank, k: K, marks: true };
};

// Cuts a text at the ends of its highlights; every piece knows what it is part of.
function highlighted({ text, marks: { words, sentence } }) {
  const ends = new Set([0, text.length]);
  const spans = sentence ? [...words, sentence] : words;
  // Spans count characters as Python does; JavaScript counts halves of the rare ones.
  const units = codeUnits(text);
  for (const span of spans) for (const end of span) ends.add(units[end]);
  const inside = (at, span) => span && units[span[0]] <= at && at < units[span[1]];
  const cuts = [...ends].sort((a, b) => a - b);
  return cuts.slice(0, -1).map((start, i) => {
    const piece = text.slice(start, cuts[i + 1]);
    const word = words.some((span) => inside(start, span));
    const inner = word ? h("mark", { class: "word" }, piece) : piece;
    return inside(start, sentence) ? h("mark", { class: "sentence" }, inner) : inner;
  });
}

function codeUnits(text) {
  const units = [];
  let at = 0;
  for (const character of text) {
    units.push(at);
    at += character.length;
  }
  return [...units, at];
}

function movement(hit, others) {
  const there = others.find((other) => other.id === hit.id);
  if (!there) return h("span", { class: "move new" }, t("fresh"));
  const up = there.rank - hit.rank;
  if (up > 0) return h("span", { class: "move up" }, t("up", up));
  return h("span", { class: up < 0 ? "move down" : "move" }, up < 0 ? t("down", -up) : t("same"));
}

function item(hit, top, others) {
  const share = top > 0 ? Math.max(0, hit.score) / Math.max(top, 1) : 0;
  return h("li", {},
    h("span", { class: "rank" }, hit.rank),
    h("div", {},
      hit.title && h("h3", {}, hit.title),
      h("p", { class: "text" }, highlighted(hit))),
    h("div", { class: "score" },
      h("span", {}, hit.score.toFixed(hit.score < 10 ? 3 : 1)),
      h("span", { class: "bar", "--share": share, "aria-hidden": "true" }, h("i")),
      h("span", { class: "id" }, `#${hit.id}`),
      others && movement(hit, others)));
}

const list = (hits, others) =>
  h("ol", { class: "hits" }, hits.map((hit) => item(hit, hits[0].score, others)));

const nothing = () => state(t("nothing"), t("nothingMore"));

const time = (found) => Math.max(1, Math.round(found.milliseconds));

const meta = (found) =>
  h("p", { class: "meta" }, t("found", found.hits.length, number(found.passages), time(found)));

function single(found) {
  return found.hits.length ? [found.truncated ? cut() : "", meta(found), list(found.hits)] : nothing();
}

function side(found, other, name) {
  const shown = found.hits.length ? list(found.hits, other.hits) : nothing();
  return h("div", {}, h("h2", {}, name, h("small", {}, `${time(found)} ms`)), shown);
}

async function compare(query, signal) {
  const [dense, bm25] = await Promise.all(
    ["dense", "bm25"].map((by) => ask("v1/search", body(query, by), signal)));
  return () => [dense.truncated ? cut() : "",
    h("div", { class: "sides" }, side(dense, bm25, t("dense")), side(bm25, dense, t("bm25")))];
}

function submit() {
  const query = field.value.trim();
  if (!query) return;
  submitted = query;
  run();
}

function run() {
  if (!submitted) return;
  const query = submitted;
  panel.classList.add("asked");
  const asked = mode();
  for (const name of [".legend", ".curl"]) $(name, panel).hidden = false;
  output.show(async (signal) => {
    const refused = refusal([query]);
    if (refused) return refused;
    if (asked === "compare") return compare(query, signal);
    const found = await ask("v1/search", body(query, asked), signal);
    return () => single(found);
  });
}

export function start() {
  const choose = (text) => { field.value = text; submit(); };
  $(".examples", panel).append(
    ...EXAMPLES.map((text) => h("button", { type: "button", onclick: () => choose(text) }, text)));
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  $(".choice", panel).addEventListener("change", () => { touched = true; run(); });
  $(".curl", panel).addEventListener("click", () => {
    const by = mode() === "compare" ? "dense" : mode();
    copyCurl("v1/search", body(submitted, by));
  });
}

export function allow(modes, reranker) {
  const ways = reranker && modes.includes("dense") ? ["reranked", ...modes] : modes;
  for (const input of panel.querySelectorAll("input[name=mode]")) {
    input.disabled = !ways.includes(input.value === "compare" ? "both" : input.value);
    input.parentElement.hidden = input.disabled;
  }
  const chosen = $("input[name=mode]:checked", panel);
  const first = $(`input[value=${ways[0]}]`, panel);
  if (!first || (!chosen.disabled && (touched || ways[0] !== "reranked"))) return;
  first.checked = true;
  run(); // what was asked before this was known
}

export function leave() {
  output.stop();
  output.put(() => []);
  panel.classList.remove("asked");
  field.value = submitted = "";
  for (const name of [".legend", ".curl"]) $(name, panel).hidden = true;
}

export const refresh = () => output.redraw();
export const focus = () => field.focus();
