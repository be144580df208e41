// 相似度: one text against many, as bars or as a matrix.

import { Output, ask, copyCurl, cut, hint, refusal } from "./api.js";
import { $, h } from "./dom.js";
import { SAMPLE, t } from "./text.js";

const panel = $("#similarity");
const form = $("form", panel);
const output = new Output($(".output", panel));
const MOST = 20;

const texts = () => form.elements.others.value.split("\n").map((line) => line.trim()).filter(Boolean);
const view = () => $("input[name=view]:checked", panel).value;
const body = () => ({
  source_sentence: form.elements.source.value.trim(),
  sentences_to_compare: texts(),
  score: "cosine",
  matrix: true,
});

function bars(asked, found) {
  const order = found.scores.map((score, i) => ({ score, text: asked.sentences_to_compare[i] }))
    .sort((a, b) => b.score - a.score);
  return h("ol", { class: "hits" }, order.map(({ score, text }, i) =>
    h("li", {},
      h("span", { class: "rank" }, i + 1),
      h("p", { class: "text" }, text),
      h("div", { class: "score" },
        h("span", {}, score.toFixed(3)),
        h("span", { class: "bar", "--share": Math.max(0, score), "aria-hidden": "true" }, h("i"))))));
}

function matrix(asked, found) {
  const all = [asked.source_sentence, ...asked.sentences_to_compare];
  const head = h("tr", {}, h("th"), all.map((text, i) => h("th", { scope: "col", title: text }, i + 1)));
  const row = (scores, i) =>
    h("tr", {}, h("th", { scope: "row", title: all[i] }, `${i + 1}　${all[i]}`),
      scores.map((score) => h("td", {
        "--share": (Math.max(0, score) ** 2).toFixed(3),
      }, score.toFixed(2))));
  return h("div", { class: "matrix", tabindex: 0 },
    h("table", {}, h("thead", {}, head), h("tbody", {}, found.matrix.map(row))));
}

function run() {
  const asked = body();
  if (!asked.source_sentence || !asked.sentences_to_compare.length) return;
  $(".curl", panel).hidden = false;
  output.show(async (signal) => {
    if (asked.sentences_to_compare.length > MOST) return () => hint("tooMany", MOST);
    const refused = refusal([asked.source_sentence, ...asked.sentences_to_compare]);
    if (refused) return refused;
    const found = await ask("v1/similarity", asked, signal);
    return () => {
      const shown = view() === "bars" ? bars(asked, found) : matrix(asked, found);
      return [found.truncated.length ? cut() : "", h("p", { class: "meta" }, t("cosine")), shown];
    };
  });
}

export function start() {
  form.addEventListener("submit", (event) => { event.preventDefault(); run(); });
  $(".choice", panel).addEventListener("change", refresh);
  $(".sample", panel).addEventListener("click", () => {
    form.elements.source.value = SAMPLE.source;
    form.elements.others.value = SAMPLE.others.join("\n");
    run();
  });
  $(".curl", panel).addEventListener("click", () => copyCurl("v1/similarity", body()));
}

export const refresh = () => output.redraw();
export const focus = () => form.elements.source.focus();
