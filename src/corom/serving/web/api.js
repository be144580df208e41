// Talking to the server, and showing what can come of it. Texts travel in POST bodies only.

import { $, h, toast } from "./dom.js";
import { t } from "./text.js";

let key = ""; // in memory only: gone with the page

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
  if (answer.ok) return value;
  const { code, message } = value.error;
  throw new ApiError(answer.status, code, message, Number(answer.headers.get("retry-after")) || 3);
}

export function askForKey(again) {
  const form = $("#key");
  if (!form.hidden) toast(t("keyWrong"));
  form.hidden = false;
  const field = $("input", form);
  field.value = "";
  field.focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    key = field.value.trim();
    field.value = "";
    form.hidden = true;
    dispatchEvent(new Event("key"));
    again();
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

const retryButton = (again) => h("button", { onclick: again }, t("retry"));

// Shows in `output` what `work` returns; while it works, a sketch; if it fails, why and what to do.
export class Output {
  #run = null;
  #timer = null;
  #listening = null;

  constructor(element) {
    this.element = element;
  }

  async show(work, again, sketch = waiting) {
    this.stop();
    const run = (this.#run = new AbortController());
    const slow = setTimeout(() => this.element.replaceChildren(sketch()), 120);
    try {
      const shown = await work(run.signal);
      clearTimeout(slow);
      if (run === this.#run) this.element.replaceChildren(...[shown].flat());
    } catch (error) {
      clearTimeout(slow);
      if (run === this.#run && error.name !== "AbortError") this.#fail(error, again);
    }
  }

  stop() {
    this.#run?.abort();
    clearInterval(this.#timer);
    this.#listening?.abort();
  }

  #fail(error, again) {
    if (!(error instanceof ApiError)) return this.#offline(again);
    if (error.status === 401) return this.#put(state(t("keyNeeded"), ""), askForKey(again));
    if ([429, 503, 504].includes(error.status)) return this.#busy(error.retryAfter, again);
    if (error.code === "no_index") return this.#put(state(t("noIndex"), t("noIndexMore")));
    if (error.code === "no_mode") return this.#put(state(t("noMode"), t("noModeMore")));
    return this.#put(state(t("failed"), error.message, retryButton(again), "warn"));
  }

  #put(element) {
    this.element.replaceChildren(element);
  }

  #busy(seconds, again) {
    const left = h("p", {}, t("busyMore", seconds));
    this.#put(h("div", { class: "state warn busy" }, h("strong", {}, t("busy")), left, retryButton(again)));
    this.#timer = setInterval(() => {
      seconds -= 1;
      left.textContent = t("busyMore", seconds);
      if (seconds <= 0) again();
    }, 1000);
  }

  #offline(again) {
    this.#listening = new AbortController();
    addEventListener("online", again, { once: true, signal: this.#listening.signal });
    this.#put(state(t("offline"), t("offlineMore"), retryButton(again), "warn offline"));
  }
}
