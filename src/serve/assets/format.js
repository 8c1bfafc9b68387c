/**
 * Numbers, times and names as people read them. Pure: no page, no clock.
 */

const GROUPED = new Intl.NumberFormat("en-US");

/** 10000 -> "10,000" */
export const count = (n) => GROUPED.format(n);

/** (2, "VM") -> "2 VMs"; (1, "dependency", "dependencies") -> "1 dependency" */
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

/** Unix ms -> "2023-11-14 22:18:20 UTC"; a fraction of a second is left out. */
export function time(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "–";
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Unix ms -> "22:18:20" (UTC) */
export const clock = (ms) => time(ms).slice(11, 19);

/** A length of time: 90000 -> "1.5 min", 0 -> "0 s". */
export function span(ms) {
  const units = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "min"], [1000, "s"]];
  const [size, unit] = units.find(([size]) => Math.abs(ms) >= size) ?? (ms === 0 ? [1000, "s"] : [1, "ms"]);
  return `${Number((ms / size).toFixed(1))} ${unit}`;
}

/** Strength, -1 to 1, with two digits and a real minus; unknown is a dash. */
export const strength = (x) => (x == null ? "–" : x.toFixed(2).replace("-", "−"));

/** Confidence, 0 to 1, as a share that is never rounded up to certainty. */
export function confidence(x) {
  if (x == null) return "–";
  return x > 0.9999 ? "> 99.99 %" : `${(Math.floor(x * 10_000) / 100).toFixed(2)} %`;
}

/** Who follows whom, and how long after. */
export function lag(ms) {
  if (ms == null) return "–";
  return ms === 0 ? "same moment" : `${ms > 0 ? "second" : "first"} ${span(Math.abs(ms))} later`;
}

/** ppm of one core -> "0.25 cores" */
export const cores = (ppm) => `${(ppm / 1e6).toFixed(ppm < 1e5 ? 3 : 2)} cores`;

/** Characters that nobody sees, but that turn text around or hide in it. */
const UNSEEN = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** A name with those made visible: no name can pass for another one, or reorder the text around it. */
export const visible = (name) =>
  name.replace(UNSEEN, (mark) => `‹U+${mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);

/**
 * A name for the canvas, where neither CSS nor bdi helps: isolated, and at most `most` characters (code points, so that
 * none is cut in two). It is cut in the middle, because names of one ensemble often differ at the end.
 */
export function label(name, most = 22) {
  const points = Array.from(visible(name.slice(0, 400)));
  if (name.length > 400) points.push("…");
  if (points.length <= most) return `\u2068${points.join("")}\u2069`;
  const tail = Math.floor((most - 1) / 2);
  return `\u2068${points.slice(0, most - 1 - tail).join("")}…${points.slice(points.length - tail).join("")}\u2069`;
}

/** "e2" before "e10"; the same order in every browser and language. */
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "variant" });
export const byName = (a, b) => collator.compare(a, b) || (a < b ? -1 : Number(a > b));
