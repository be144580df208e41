// Talking to the server, and showing what can come of it. Texts travel in POST bodies only.

import { $, h, toast } from "./dom.js";
import { number, t } from "./text.js";

export const limits = { characters: 8192, tokens: 128 }; // until the server says its own

let key = ""; // in memory only: gone with the page
const SENDABLE = /^[ -~]+$/; // anything else in a header makes fetch throw

class ApiError extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

const headers = () => ({
  "content-type": "application/json",
  ...(key ? { authorization: `Bearer ${key}` } : {}),
});

export async function ask(path, body, signal) {
  const post = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(path, { ...post, headers: headers(), signal });
  const value = await answer.json();
  if (answer.ok) {
    dispatchEvent(new Event("answered"));
    return value;
  }
  const { code, message } = value.error;
  throw new ApiError(answer.status, code, message, Number(answer.headers.get("retry-after")) || 3);
}

// Every output that waits for a key hears of it by the event.
function askForKey() {
  const form = $("#key");
  if (!form.hidden) return; // another output asked already: what is being typed stays
  if (key) toast(t("keyWrong"));
  form.hidden = false;
  const field = $("input", form);
  field.focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    const entered = field.value.trim();
    field.value = "";
    if (!SENDABLE.test(entered)) return toast(t("keyForeign"));
    key = entered;
    form.hidden = true;
    dispatchEvent(new Event("key"));
  };
}

export function curl(path, body) {
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  const token = key ? ` -H 'authorization: Bearer KEY'` : "";
  return `curl ${new URL(path, location.href)} -H 'content-type: application/json'${token} -d '${quoted}'`;
}

export async function copyCurl(path, body) {
  try {
    await navigator.clipboard.writeText(curl(path, body));
    toast(t("copied"));
  } catch {
    toast(t("notCopied")); // browsers give the clipboard to HTTPS and this machine only
  }
}

export const state = (title, more, extra, kind = "") =>
  h("div", { class: `state ${kind}` }, h("strong", {}, title), h("p", {}, more), extra);

export const waiting = () =>
  h("div", { class: "wait", "aria-label": t("loading") }, ...Array.from({ length: 6 }, () => h("i")));

export const hint = (name, ...values) => h("p", { class: "hint" }, t(name, ...values));

// Draws that the model read only the beginning of a text.
export const cut = () => hint("truncated", limits.tokens);

// Returns what draws that a text is too long to be sent, if one is.
export function refusal(texts) {
  const longest = Math.max(...texts.map((text) => [...text].length));
  return longest > limits.characters && (() => hint("tooLong", number(longest), number(limits.characters)));
}

const retryButton = (again) => h("button", { onclick: again }, t("retry"));

const REASONS = {
  no_index: ["noIndex", "noIndexMore"],
  no_mode: ["noMode", "noModeMore"],
  no_passages: ["noPassages", "noPassagesMore"],
};

// Shows what `work` finds; while it works, a sketch; if it fails, why and what to do. `work` returns
// a function that draws: so the language can change, and nothing is asked again. Trying again
// repeats `work` as it was: nobody has submitted what is in the fields by then.
export class Output {
  draw = () => []; // the present state
  #again = null;
  #run = null;
  #timer = null;
  #listening = null;
  #reasons;

  constructor(element, reasons = {}) {
    this.element = element;
    this.#reasons = { ...REASONS, ...reasons };
  }

  async show(work, sketch = waiting) {
    this.stop();
    this.#again = () => this.show(work, sketch);
    const run = (this.#run = new AbortController());
    const slow = setTimeout(() => this.put(sketch), 120);
    try {
      const draw = await work(run.signal);
      clearTimeout(slow);
      if (run === this.#run) this.put(draw);
    } catch (error) {
      clearTimeout(slow);
      if (run === this.#run && error.name !== "AbortError") this.#fail(error);
    }
  }

  put(draw) {
    this.draw = draw;
    this.redraw();
  }

  redraw() {
    this.element.replaceChildren(...[this.draw()].flat());
  }

  stop() {
    this.#run?.abort();
    clearInterval(this.#timer);
    this.#listening?.abort();
  }

  #fail(error) {
    if (!(error instanceof ApiError)) return this.#offline();
    if (error.status === 401) return this.#locked();
    if ([429, 503, 504].includes(error.status)) return this.#busy(error.retryAfter);
    const reason = this.#reasons[error.code];
    if (reason) return this.put(() => state(...reason.map((name) => t(name))));
    return this.put(() => state(t("failed"), error.message, retryButton(this.#again), "warn"));
  }

  #againOn(event) {
    this.#listening = new AbortController();
    addEventListener(event, this.#again, { once: true, signal: this.#listening.signal });
  }

  #locked() {
    this.#againOn("key");
    this.put(() => state(t("keyNeeded"), ""));
    askForKey();
  }

  #busy(seconds) {
    let left;
    this.put(() => {
      left = h("p", {}, t("busyMore", seconds));
      return h("div", { class: "state warn busy" }, h("strong", {}, t("busy")), left, retryButton(this.#again));
    });
    this.#timer = setInterval(() => {
      seconds -= 1;
      left.textContent = t("busyMore", seconds);
      if (seconds <= 0) this.#again();
    }, 1000);
  }

  #offline() {
    this.#againOn("online");
    this.put(() => state(t("offline"), t("offlineMore"), retryButton(this.#again), "warn offline"));
  }
}
