/**
 * The time bar: which moment is shown, play, what to compare it with.
 */
import { h, s, show, $ } from "./dom.js";
import { many, time } from "./format.js";
import { current, go } from "./route.js";

const STEP_MS = 900;
/** Bars of changes above the slider. */
const BARS = 160;

export class Timeline {
  #windows = [];
  #timer = null;

  constructor() {
    $("slider").addEventListener("input", () => this.#choose(Number($("slider").value)));
    $("back").addEventListener("click", () => this.#choose(this.#shown() - 1));
    $("forth").addEventListener("click", () => this.#choose(this.#shown() + 1));
    $("now").addEventListener("click", () => go({ at: null }));
    $("play").addEventListener("click", () => (this.#timer == null ? this.#play() : this.#stop()));
    $("mark").addEventListener("click", () => go({ since: this.#windows[this.#shown()]?.window_end_ms ?? null }));
    $("since").addEventListener("change", () => go({ since: /^\d+$/.test($("since").value) ? Number($("since").value) : $("since").value || null }));
  }

  /** Shows the moments there are, and marks the current one. */
  update(windows) {
    this.#windows = windows;
    const route = current(), last = windows.length - 1, shown = this.#shown();
    Object.assign($("slider"), { max: Math.max(0, last), value: shown, disabled: last < 1 });
    const at = windows[shown];
    $("slider").setAttribute("aria-valuetext", at ? time(at.window_end_ms) : "no window yet");
    show($("moment"), at ? time(at.window_end_ms) : "No window yet");
    $("back").disabled = shown <= 0;
    $("forth").disabled = route.at == null;
    $("now").disabled = route.at == null;
    $("play").disabled = last < 1;
    $("mark").disabled = !at;
    this.#since(route);
    show($("activity"), bars(windows, shown));
  }

  /** Of `windows` the one to compare with, as Unix ms; null if there is none. */
  since(windows) {
    this.#windows = windows;
    const { since } = current(), shown = this.#shown();
    if (since == null) return null;
    if (typeof since === "number") return since;
    const index = since === "first" ? 0 : since === "previous" ? shown - 1 : shown + Number(since);
    return this.#windows[Math.max(0, index)]?.window_end_ms ?? null;
  }

  /** Which window the address means: the last one that ended by then. */
  #shown() {
    const { at } = current(), last = this.#windows.length - 1;
    if (at == null) return last;
    const index = this.#windows.findLastIndex((one) => one.window_end_ms <= at);
    return Math.max(0, index);
  }

  #since({ since }) {
    const select = $("since");
    const choices = [["", "nothing"], ["previous", "the previous window"], ["-10", "10 windows earlier"], ["-60", "60 windows earlier"], ["first", "the first window"]];
    if (typeof since === "number") choices.push([String(since), time(since)]);
    const known = [...select.options].map((option) => option.value).join();
    if (known !== choices.map(([value]) => value).join()) select.replaceChildren(...choices.map(([value, said]) => h("option", { value }, said)));
    select.value = String(since ?? "");
  }

  /** Shows window number `index`; the last one is now. */
  #choose(index) {
    const last = this.#windows.length - 1;
    go({ at: index >= last ? null : this.#windows[Math.max(0, index)].window_end_ms }, true);
  }

  /** From here to now, or all of it if now is shown. */
  #play() {
    if (current().at == null) this.#choose(0);
    this.#timer = setInterval(() => (current().at == null ? this.#stop() : this.#choose(this.#shown() + 1)), STEP_MS);
    this.#button();
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#button();
  }

  #button() {
    show($("play"), this.#timer == null ? "Play" : "Pause");
  }
}

/** How much changed when: a bar for each window, or for several next to each other if there are many. */
function bars(windows, shown) {
  const n = Math.min(BARS, windows.length);
  if (n === 0) return [];
  const of = (k) => [Math.floor((k * windows.length) / n), Math.floor(((k + 1) * windows.length) / n)];
  const sums = Array.from({ length: n }, (_, k) => windows.slice(...of(k)).reduce((sum, one) => sum + one.changes, 0));
  const most = Math.max(1, ...sums);
  const total = sums.reduce((a, b) => a + b, 0);
  return s("svg", { viewBox: `0 0 ${n} 16`, preserveAspectRatio: "none", role: "img", "aria-label": `${many(total, "change")} in ${many(windows.length, "window")}` },
    sums.map((sum, k) => {
      const [from, to] = of(k), high = sum === 0 ? 0.6 : 1.5 + 14.5 * Math.sqrt(sum / most);
      return s("rect", { x: k + 0.1, width: 0.8, y: 16 - high, height: high, class: shown >= from && shown < to ? "bar here" : "bar" });
    }));
}
