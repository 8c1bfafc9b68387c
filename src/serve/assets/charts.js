/**
 * Small charts in SVG: CPU use, correlation against lag, evidence over time. Each is a figure with its content in words
 * for those who do not see it.
 */
import { h, s } from "./dom.js";
import { clock, cores, span } from "./format.js";

const WIDE = 360, HIGH = 96, LEFT = 4, BOTTOM = 14;

/** A figure of `marks` (SVG) with words above, and what it shows in words. */
function figure(title, said, marks, high = HIGH) {
  return h("figure", { class: "chart" },
    h("figcaption", {}, title),
    s("svg", { viewBox: `0 0 ${WIDE} ${high}`, role: "img", "aria-label": said }, marks));
}

const text = (x, y, anchor, what) => s("text", { x, y, "text-anchor": anchor, class: "tick" }, what);
const scaleX = (k, n) => LEFT + (k / Math.max(1, n - 1)) * (WIDE - 2 * LEFT);
const scaleY = (value, least, most, high) => high - BOTTOM - ((value - least) / (most - least || 1)) * (high - BOTTOM - 12);

/** Values (or null) as a line that breaks where there is nothing. More values than columns: the extremes of each. */
export function path(values, least, most, high = HIGH) {
  const points = condense(values, WIDE);
  let drawn = "", pen = false;
  points.forEach((value, k) => {
    if (value != null) drawn += `${pen ? "L" : "M"}${scaleX(k, points.length).toFixed(1)} ${scaleY(value, least, most, high).toFixed(1)}`;
    pen = value != null;
  });
  return drawn;
}

/** At most 2 * `columns` values: of each column the smallest and the largest. */
export function condense(values, columns) {
  if (values.length <= 2 * columns) return values;
  const kept = [];
  for (let c = 0; c < columns; c += 1) {
    const from = Math.floor((c * values.length) / columns), to = Math.floor(((c + 1) * values.length) / columns);
    const known = values.slice(from, to).filter((value) => value != null);
    kept.push(known.length ? Math.min(...known) : null, known.length ? Math.max(...known) : null);
  }
  return kept;
}

/** One VM's CPU use. `title` may hold elements. */
export function cpu(title, name, values, fromMs, periodMs) {
  const known = values.filter((value) => value != null);
  const most = known.reduce((a, b) => Math.max(a, b), 0);
  const mean = known.reduce((a, b) => a + b, 0) / Math.max(1, known.length);
  const said = known.length === 0 ? "no samples" : `CPU use, mean ${cores(mean)}, at most ${cores(most)}`;
  const high = 78;
  return figure([title, h("span", { class: "aside" }, known.length ? `mean ${cores(mean)}` : "no samples")], `${name}: ${said}`, [
    s("path", { d: path(values, 0, Math.max(most, 1), high), class: "line" }),
    s("line", { x1: LEFT, x2: WIDE - LEFT, y1: high - BOTTOM, y2: high - BOTTOM, class: "axis" }),
    text(LEFT, 9, "start", known.length ? cores(most) : ""),
    text(LEFT, high - 3, "start", clock(fromMs)),
    text(WIDE - LEFT, high - 3, "end", clock(fromMs + values.length * periodMs)),
  ], high);
}

/** How alike two VMs are some time apart, in standard deviations of unrelated pairs; in the grey band 95 % of those are. */
export function lags({ bin_ms: binMs, lags: all }) {
  const BAND = 1.96;
  const most = Math.max(BAND * 1.5, ...all.map(({ z }) => z)), least = Math.min(-BAND * 1.5, ...all.map(({ z }) => z));
  const y = (z) => scaleY(z, least, most, HIGH);
  const wide = (WIDE - 2 * LEFT) / Math.max(1, all.length);
  const peak = all.reduce((a, b) => (Math.abs(b.z) > Math.abs(a.z) ? b : a), all[0] ?? { z: 0, lag_ms: 0 });
  const bars = all.map(({ z }, k) => s("rect", {
    x: LEFT + k * wide + wide * 0.2, width: wide * 0.6, y: Math.min(y(0), y(z)), height: Math.max(0.5, Math.abs(y(z) - y(0))),
    class: Math.abs(z) > BAND ? (z < 0 ? "bar negative" : "bar positive") : "bar" }));
  const said = `largest ${peak.z.toFixed(1)} at ${span(peak.lag_ms)}`;
  return figure([`Bins of ${span(binMs)}`, h("span", { class: "aside" }, said)], `Correlation against lag in bins of ${span(binMs)}: ${said} standard deviations`, [
    s("rect", { x: LEFT, width: WIDE - 2 * LEFT, y: y(BAND), height: y(-BAND) - y(BAND), class: "null-band" }),
    bars,
    s("line", { x1: LEFT, x2: WIDE - LEFT, y1: y(0), y2: y(0), class: "axis" }),
    text(LEFT, HIGH - 2, "start", span(all[0]?.lag_ms ?? 0).replace("-", "−")),
    text(WIDE / 2, HIGH - 2, "middle", "0"),
    text(WIDE - LEFT, HIGH - 2, "end", `+${span(all.at(-1)?.lag_ms ?? 0)}`),
  ]);
}

/** The evidence that each window gave, what was recorded before, and how much is enough. */
export function evidence(history) {
  const known = history.map((then) => then.evidence);
  const all = known.flatMap((one) => (one ? [one.window_z, one.recorded_z, one.threshold] : []));
  const most = Math.max(1, ...all), least = Math.min(0, ...all);
  const of = (what) => path(known.map((one) => one?.[what] ?? null), least, most);
  const last = known.findLast((one) => one != null);
  const said = last ? `last window ${last.window_z.toFixed(1)}, recorded ${last.recorded_z.toFixed(1)}, enough is ${last.threshold.toFixed(1)}` : "not judged yet";
  return figure(["Evidence, window by window", h("span", { class: "aside" }, said)], `Evidence in standard deviations over ${history.length} windows: ${said}`, [
    s("path", { d: of("threshold"), class: "line enough" }),
    s("path", { d: of("recorded_z"), class: "line recorded" }),
    s("path", { d: of("window_z"), class: "line" }),
    dots(known, least, most),
    text(LEFT, HIGH - 2, "start", history.length ? clock(history[0].window_end_ms) : ""),
    text(WIDE - LEFT, HIGH - 2, "end", history.length ? clock(history.at(-1).window_end_ms) : ""),
  ]);
}

/**
 * How strong a dependency was, from its events: a step at each, and nothing while it was not held. `untilMs` is where
 * the last one still holds.
 */
export function held(events, untilMs) {
  const mine = events.filter(({ type }) => type.startsWith("lwt.dependency."));
  if (mine.length === 0) return h("p", { class: "muted" }, "Never held, as far back as the history goes.");
  const fromMs = mine[0].window_end_ms, until = Math.max(untilMs, mine.at(-1).window_end_ms, fromMs + 1);
  const negative = mine.some(({ strength }) => strength < 0);
  const x = (ms) => (LEFT + ((ms - fromMs) / (until - fromMs)) * (WIDE - 2 * LEFT)).toFixed(1);
  const y = (strength) => scaleY(strength ?? 0.5, negative ? -1 : 0, 1, HIGH).toFixed(1);
  const steps = mine.map(({ type, strength, window_end_ms: ms }, k) => type.endsWith("vanished") ? ""
    : `M${x(ms)} ${y(strength)}H${x(mine[k + 1]?.window_end_ms ?? until)}`);
  const breaks = mine.filter(({ type }) => type.endsWith("vanished")).length;
  const said = breaks === 0 ? `held since ${clock(fromMs)}` : `broke ${breaks === 1 ? "once" : `${breaks} times`}`;
  return figure(["Strength over time", h("span", { class: "aside" }, said)], `Strength over time: ${said}`, [
    s("line", { x1: LEFT, x2: WIDE - LEFT, y1: y(0), y2: y(0), class: "axis" }),
    s("path", { d: steps.join(""), class: "line" }),
    text(LEFT, 9, "start", "1"),
    text(LEFT, HIGH - 2, "start", clock(fromMs)),
    text(WIDE - LEFT, HIGH - 2, "end", clock(until)),
  ]);
}

/** A line of one point is invisible: few windows are drawn as points. */
function dots(known, least, most) {
  if (known.length > 40) return [];
  return known.flatMap((one, k) => (one ? [s("circle", {
    cx: scaleX(k, known.length), cy: scaleY(one.window_z, least, most, HIGH), r: 2.2, class: "point" })] : []));
}
