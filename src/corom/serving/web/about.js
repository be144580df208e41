// 关于: what runs here, from the server's own facts and the model's card.

import { Output, ask } from "./api.js";
import { $, h } from "./dom.js";
import { number, t } from "./text.js";

const output = new Output($("#about .output"));

function facts({ model, reranker, collection, version }) {
  const names = t("facts");
  const size = collection && number(collection.passages);
  const opened = collection &&
    (collection.name === "bundled" ? t("bundled", size) : t("opened", collection.name, size));
  const rows = [
    [names.model, model.name],
    [names.dim, model.dim],
    [names.max_length, t("tokens", model.max_length)],
    [names.pooling, model.pooling],
    [names.normalize, model.normalize ? t("yes") : t("no")],
    [names.engine, `${model.engine} · ${model.precision}`],
    [names.fingerprint, model.fingerprint],
    ...(reranker ? [[names.reranker, t("reads", reranker.name, reranker.depth)]] : []),
    [names.collection, opened ?? t("none")],
    [names.version, version],
  ];
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const EXAMPLE = `from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key="KEY")
client.embeddings.create(model="MODEL", input=["上消化道出血手术大约多久"])`;

const api = ({ model }) => [
  h("h2", {}, t("api")),
  h("p", {}, t("apiMore"), " ", h("a", { href: "openapi.json" }, "openapi.json")),
  h("pre", {}, EXAMPLE.replace("MODEL", model.name)),
];

// As much Markdown as model cards use: headings, paragraphs, lists, tables, code; `code`, **bold**.
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith("`")) return h("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return h("strong", {}, part.slice(2, -2));
    const link = part.match(/^\[([^\]]+)\]\((https?:[^)]+)\)$/);
    return link ? h("a", { href: link[2], rel: "noreferrer" }, link[1]) : part;
  });
}

function table(lines) {
  const cells = (line) => line.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const isRule = (line) => /^[|\s:-]+$/.test(line);
  const rows = lines.filter((line) => !isRule(line)).map(cells).filter((row) => row.some(Boolean));
  return h("table", {}, h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell)))))));
}

const MARKER = /^\s*(?:[-*]|\d+[.)]) /;

function list(lines) {
  const items = [];
  for (const line of lines) {
    if (MARKER.test(line)) items.push(line.replace(MARKER, ""));
    else items.push(`${items.pop()} ${line.trim()}`); // the item goes on
  }
  const first = parseInt(lines[0]);
  return h(first >= 0 ? "ol" : "ul", { start: first >= 0 && first }, items.map((item) => h("li", {}, inline(item))));
}

function block(text) {
  const lines = text.split("\n");
  const heading = text.match(/^(#+) (.*)/);
  if (heading) return h(heading[1].length < 2 ? "h2" : "h3", {}, inline(heading[2]));
  if (text.startsWith("```")) return h("pre", {}, text.replace(/^```.*\n?|\n?```$/g, ""));
  if (text.startsWith("|")) return table(lines);
  if (MARKER.test(text)) return list(lines);
  return h("p", {}, inline(lines.join(" ")));
}

function card(text) {
  const body = text.replace(/^---\n[\s\S]*?\n---\n/, "");
  // A fence is a block, to the end of the card if nothing closes it. Elsewhere blocks end at an empty
  // line, and a heading is its own.
  const parts = body.split(/^(```[\s\S]*?(?:^```|(?![\s\S])))/m);
  const blocks = parts.flatMap((part) =>
    part.startsWith("```") ? part : part.replace(/^(#+ .*)$/gm, "\n$1\n").split(/\n\s*\n/));
  return h("div", { class: "card" }, blocks.map((text) => text.trim()).filter(Boolean).map(block));
}

function open() {
  output.show(async (signal) => {
    const about = await ask("v1/about", undefined, signal);
    return () => [facts(about), ...api(about), about.card ? card(about.card) : ""];
  });
}

export const start = () => {};
export const enter = open;
export const refresh = () => output.redraw();
export const focus = () => {};
